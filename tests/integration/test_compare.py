"""Two jobs beside each other by ``flowcert compare``: what differs, clip by clip, in numbers and in a picture."""

import csv
import io
import json

import pyarrow.parquet as pq
import pytest

from common.celery_app import make_app
from common.jobspec import DisSpec, ModelSpec, SamplingSpec
from common.settings import Settings
from scheduler.intake import FoundClip, submit
from tests.rows import Desk, attacked, bounded, make_spec, prepared, real_witness, witness_at

OTHER = ModelSpec(name="cnn_gru", weights="/other.pt", classes=("walk", "run"), sha256="1" * 64)
#: A step of one on the first coordinate, which costs 2; of two, which costs 4.
NEAR, FAR = ((0, 1),), ((0, 2),)


@pytest.fixture
def desk(engine, database_url, broker_url):
    made = Desk(engine, database_url, make_app(broker_url, task_seconds=1.0))
    made.settings = Settings(window=3)
    return made


def hand_in(desk, *names, budget=1_000_000, folder="/v", **changes):
    clips = [FoundClip("walk", f"{folder}/{name}.avi") for name in names]
    job = submit(desk.engine, make_spec(**changes), clips, budget).job_id
    desk.pace.sizes[job] = desk.task_points
    return job


@pytest.fixture
def jobs(desk):
    """Two models on five clips, one of them in one job only, and one that fails in one job."""
    ours = hand_in(desk, "a", "b", "c", "d", "alone", continuous=True)
    desk.serve(
        a={"bound": bounded(3.0)}, b={"attack": attacked(witness_at(NEAR))}, c={"attack": attacked(witness_at(FAR))},
        d={"prepare": prepared(predicted="run")},
    )  # fmt: skip
    theirs = hand_in(desk, "a", "b", "c", "d", "e", continuous=True, model=OTHER, tau="2")
    wrong = {"prepare": prepared(predicted="run")}
    desk.serve(
        a={"attack": attacked(witness_at(NEAR), real_witness((0, 1.0)))},  # 4 px, and 2 px between the points
        b={"attack": attacked(witness_at(FAR))}, c={"attack": attacked(witness_at(NEAR))}, d=wrong,
    )  # fmt: skip
    return ours, theirs


def test_the_clips_of_both_jobs_stand_beside_each_other(flowcert, jobs):
    found = json.loads(flowcert("compare", *jobs, "--json")[1])
    assert (found["job_a"]["job_id"], found["job_b"]["job_id"]) == jobs
    fields = {row["field"]: (row["a"], row["b"]) for row in found["differences"]}
    assert fields == {
        "model.name": ("cnn_lstm", "cnn_gru"), "model.weights": ("/none.pt", "/other.pt"),
        "model.sha256": ("0" * 64, "1" * 64), "tau": ("1", "2"),
    }  # fmt: skip
    assert found["clips"] == {"both": 4, "only_a": 1, "only_b": 1, "changed": 0, "evaluated_by_both": 4}
    assert found["correct"] == {"both": 3, "only_a": 0, "only_b": 0, "neither": 1}
    rows = {row["video"]: row for row in found["rows"]}
    assert {video: (row["fmsr_outcome"], row["msr_outcome"]) for video, row in rows.items()} == {
        "/v/a.avi": ("a", "a"),  # robust against solved at 4; certified 3 against a real change at 2
        "/v/b.avi": ("b", "undecided"),  # solved at 2 against 4 of the coarser grid's, which has nothing nearer
        "/v/c.avi": ("equal", "undecided"),
        "/v/d.avi": ("equal", "equal"),
    }  # fmt: skip
    assert (rows["/v/a.avi"]["fmsr_difference_at_least"], rows["/v/a.avi"]["fmsr_difference_at_most"]) == (4.0, 4.0)
    assert (rows["/v/b.avi"]["fmsr_lower_a"], rows["/v/b.avi"]["fmsr_upper_b"]) == (2.0, 8.0)
    (fmsr, msr) = found["measures"]
    assert fmsr["outcomes"] == {"a": 1, "b": 1, "equal": 2, "undecided": 0}
    assert msr["outcomes"] == {"a": 1, "b": 0, "equal": 1, "undecided": 2}


def test_all_of_it_as_a_table(flowcert, jobs):
    status, output, notes = flowcert("compare", *jobs)
    assert (status, notes) == (0, "")
    for text in ("A is job", "model.name", "cnn_gru", "v/a.avi", "A certainly ahead", "sign test", "FMSR is the"):
        assert text in output
    assert "dataset" not in output


def test_rows_and_pictures_go_into_files(flowcert, jobs, tmp_path):
    status, output, _ = flowcert("compare", *jobs, "--format", "csv")
    rows = list(csv.DictReader(io.StringIO(output, newline="")))
    assert (status, [row["verdict_a"] for row in rows]) == (0, ["robust", "solved", "solved", "misclassified"])
    assert flowcert("compare", *jobs, "--out", tmp_path / "rows.parquet")[0] == 0
    columns = pq.read_table(tmp_path / "rows.parquet").to_pylist()
    assert [row["fmsr_difference_at_least"] for row in columns] == [4.0, -6.0, 0.0, 0.0]
    for name, start in (("a.png", b"\x89PNG\r\n"), ("a.svg", b"<?xml")):
        file = tmp_path / name
        assert flowcert("compare", *jobs, "--plot", file) == (0, "", f"written: {file}\n")
        assert file.read_bytes().startswith(start)


def refused(outcome, problem):
    status, output, notes = outcome
    assert (status, output) == (2, "")
    assert notes.startswith(f"error: {problem}")
    assert notes.count("\n") == 1


def test_jobs_that_ask_something_else_are_refused(desk, flowcert, tmp_path):
    ours = hand_in(desk, "a")
    for changes, why in (
        ({"norm": "L2"}, "distances in different norms do not compare (norm: L1 and L2)"),
        ({"sampling": SamplingSpec(frames=3, height=8, width=16)}, "they look at different frames"),
        ({"flow": DisSpec()}, "the same change of another flow makes other frames"),
        ({"features": "grid:2x2"}, "they move different regions"),
    ):
        theirs = hand_in(desk, "a", **changes)
        refused(flowcert("compare", ours, theirs), f"JOB_B: jobs {ours} and {theirs} cannot be compared: {why}")
    refused(flowcert("compare", ours, ours), f"JOB_B: is job {ours} too")
    elsewhere = hand_in(desk, "a", folder="/w", tau="2")
    refused(flowcert("compare", ours, elsewhere), f"JOB_B: jobs {ours} and {elsewhere} have no clip in common")
    refused(flowcert("compare", ours, 99), "JOB: there is no job '99'")
    same = hand_in(desk, "a", tau="3")
    refused(flowcert("compare", ours, same, "--plot", tmp_path / "a.gif"), "--plot: ")
    refused(flowcert("compare", ours, same, "--plot", tmp_path / "none" / "a.png"), "--plot: ")


def test_jobs_in_which_nothing_is_known_yet_can_be_compared(desk, flowcert, tmp_path):
    ours, theirs = hand_in(desk, "a", "b"), hand_in(desk, "a", "b", tau="2")
    found = json.loads(flowcert("compare", ours, theirs, "--json")[1])
    assert found["clips"] == {"both": 2, "only_a": 0, "only_b": 0, "changed": 0, "evaluated_by_both": 0}
    assert [row["fmsr_outcome"] for row in found["rows"]] == [None, None]
    assert flowcert("compare", ours, theirs)[0] == 0
    assert flowcert("compare", ours, theirs, "--plot", tmp_path / "a.png")[0] == 0


def test_the_same_bytes_in_another_folder_are_the_same_clip(desk, flowcert):
    ours, theirs = hand_in(desk, "a"), hand_in(desk, "b", folder="/w", tau="2")
    desk.serve(
        a={"prepare": prepared(video_sha256="c" * 64)}, b={"prepare": prepared(video_sha256="c" * 64)},
    )  # fmt: skip
    (row,) = json.loads(flowcert("compare", ours, theirs, "--json")[1])["rows"]
    assert (row["video"], row["video_b"], row["video_sha256"]) == ("/v/a.avi", "/w/b.avi", "c" * 64)
