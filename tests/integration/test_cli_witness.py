"""``flowcert witness`` on finished jobs: its files, what they say, and one line for everything that is wrong."""

import json
from random import Random

import cv2
import pytest

from common.errors import InputError
from scheduler.cli.witness import find_clip
from scheduler.intake.dataset import FoundClip
from scheduler.intake.submit import submit
from tests.harness import finished_clip
from tests.rows import make_spec
from tests.tiny import write_video


def refused(answer, problem):
    status, output, notes = answer
    assert (status, output) == (2, "")
    assert notes.startswith(f"error: {problem}")
    assert notes.count("\n") == 1


def test_a_witness_is_drawn_and_told(flowcert, certified, engine, tmp_path):
    (job, game), (other, robust) = certified
    out = tmp_path / "deep" / "out"
    status, output, notes = flowcert("witness", job, game.video, "--out", out)
    assert status == 0, notes
    end = finished_clip(engine, job)
    best = min((row for row in end.witnesses if row.replayed), key=lambda row: (row.cost, row.id))
    told = json.loads((out / "witness.json").read_text())
    assert told["cost"] == game.truth.fmsr == end.bound.upper
    assert told["point"] == [list(step) for step in best.point]
    assert told["after"] == {"predicted": best.predicted, "margin": pytest.approx(best.margin, abs=1e-9)}
    assert told["before"]["predicted"] == told["label"] == game.label
    assert told["before"]["margin"] == pytest.approx(end.video.margin, abs=1e-4)
    assert told["clip_digest"] == end.video.clip_digest
    assert [move["coordinate"] for move in told["moves"]] == [coordinate for coordinate, _ in told["point"]]
    assert output == f"{game.label} becomes {best.predicted}: {told['strategy']}\n"

    assert notes.count("written: ") == 3
    assert cv2.imread(str(out / "witness.png")) is not None
    (film,) = [path for path in out.iterdir() if path.suffix in (".webm", ".avi")]
    capture, count = cv2.VideoCapture(str(film)), 0
    while capture.read()[0]:
        count += 1
    assert count == game.spec.sampling.frames

    (row,) = json.loads(flowcert("results", job, "--json")[1])
    assert row["strategy"] == told["strategy"]
    (row,) = json.loads(flowcert("results", other, "--json")[1])
    assert row["strategy"] is None
    name = "/".join(game.video.parts[-2:])
    assert f"{name}: {best.predicted} by flow {told['moves'][0]['flow']}: " in flowcert("results", job)[1]
    assert " by flow " not in flowcert("results", other)[1]
    assert flowcert("witness", other, robust.video, "--out", out)[1].startswith(f"{robust.label} becomes ")
    (row,) = json.loads(flowcert("results", other, "--json")[1])
    real = json.loads((out / "witness.json").read_text())
    assert (row["verdict"], real["kind"], real["point"], real["cost"]) == ("robust", "real", None, None)
    assert real["distance"] == pytest.approx(row["msr_upper"])
    assert all(move["steps"] is None for move in real["moves"])
    assert real["after"]["margin"] < 0
    idle = submit(engine, make_spec(), [FoundClip("walk", "/videos/a.avi")], 1).job_id
    refused(flowcert("witness", idle, "/videos/a.avi", "--out", out), "VIDEO: videos/a.avi has no witness; ")
    refused(flowcert("witness", job, "no/such.avi", "--out", out), f"VIDEO: job {job} has no clip 'no/such.avi'")


def test_what_cannot_be_drawn_is_refused(flowcert, certified, tmp_path):
    (job, game), _ = certified
    (tmp_path / "file").write_text("")
    refused(flowcert("witness", job, game.video, "--out", tmp_path / "file"), f"--out: {tmp_path}/file: cannot be made")
    sampling = game.spec.sampling
    write_video(game.video, Random(9), frames=9, height=sampling.height, width=sampling.width)
    answer = flowcert("witness", job, game.video, "--out", tmp_path / "out")
    refused(answer, f"VIDEO: {game.video}: file changed since it was prepared")
    refused(flowcert("witness", "7", game.video, "--out", tmp_path), "JOB: there is no job '7'")


def test_a_name_that_several_clips_have_is_ambiguous():
    rows = [{"video": path} for path in ("/a/Up/c.avi", "/b/Up/c.avi", "/b/Up/d.avi")]
    assert find_clip(rows, "/b/Up/c.avi", 1) is rows[1]
    assert find_clip(rows, "Up/d.avi", 1) is rows[2]
    with pytest.raises(InputError, match=r"2 clips of job 1 are called 'Up/c\.avi'; give the whole path"):
        find_clip(rows, "Up/c.avi", 1)
