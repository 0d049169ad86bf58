"""Exports have a row a clip in every format, and VNN-COMP's words say what is proved and nothing more."""

import csv
import io
import json
import math

import pyarrow.parquet as pq
import pytest
import sqlalchemy as sa

from common.celery_app import make_app
from common.settings import Settings
from scheduler.intake import FoundClip, Terms, submit
from tests.rows import Desk, attacked, bounded, estimated, make_spec, prepared, real_witness, witness_at

#: A step of one on the first coordinate, which costs 2.
NEAR = ((0, 1),)


@pytest.fixture
def desk(engine, database_url, broker_url):
    made = Desk(engine, database_url, make_app(broker_url, task_seconds=1.0))
    made.settings = Settings(window=3)
    return made


def submitted(desk, *paths, budget=1_000_000, terms=None, **changes):
    clips = [FoundClip("walk", path) for path in paths]
    job = submit(desk.engine, make_spec(**changes), clips, budget, terms or Terms()).job_id
    desk.pace.sizes[job] = desk.task_points
    return job


def words(flowcert, job):
    rows = json.loads(flowcert("results", job, "--json")[1])
    return {
        row["video"].rpartition("/")[2].removesuffix(".avi"): (row["vnncomp_grid"], row["vnncomp_real"]) for row in rows
    }  # fmt: skip


def test_each_verdict_has_its_words(desk, flowcert):
    paths = [f"/v/{name}.avi" for name in ("robust", "proved", "short", "solved", "between", "far", "wrong")]
    job = submitted(desk, *paths, continuous=True)
    desk.serve(
        proved={"bound": bounded(8.0)}, short={"bound": bounded(7.9)},
        solved={"attack": attacked(witness_at(NEAR))},
        # A real change nearer than the radius, between the points of a grid that has no adversarial one.
        between={"attack": attacked(real=real_witness((0, 2.5)))},
        far={"attack": attacked(real=real_witness((0, 4.5)))},
        wrong={"prepare": prepared(predicted="run")},
    )  # fmt: skip
    assert words(flowcert, job) == {
        "robust": ("holds", "unknown"), "proved": ("holds", "holds"), "short": ("holds", "unknown"),
        "solved": ("violated", "violated"), "between": ("holds", "violated"), "far": ("holds", "unknown"),
        "wrong": ("violated", "violated"),
    }  # fmt: skip


def test_a_clip_that_failed_is_an_error_and_one_that_waits_is_unknown(desk, flowcert):
    clips = [FoundClip("walk", "/v/a.avi"), FoundClip("walk", "/v/b.avi", "is empty")]
    job = submit(desk.engine, make_spec(), clips, 1_000_000).job_id
    assert words(flowcert, job) == {"a": ("unknown", "unknown"), "b": ("error", "error")}


def test_a_spent_budget_of_points_is_unknown_and_of_time_is_a_timeout(desk, flowcert):
    points = submitted(desk, "/v/a.avi", budget=1)
    desk.serve()
    clip = submitted(desk, "/w/a.avi", terms=Terms(clip_seconds=0.75), dataset="/w")
    desk.serve()
    wall = submitted(desk, "/x/a.avi", terms=Terms(wall_seconds=1234567.5), dataset="/x")
    with desk.engine.begin() as connection:
        connection.execute(sa.text("UPDATE jobs SET ran_seconds = 2345678 WHERE id = :job"), {"job": wall})
    desk.round()
    reasons = [reason for (reason,) in desk.rows("SELECT reason FROM videos WHERE verdict = 'open' ORDER BY id")]
    assert [words(flowcert, job)["a"][0] for job in (points, clip, wall)] == ["unknown", "timeout", "timeout"], reasons


def test_what_was_found_before_the_time_was_spent_stands(desk, flowcert):
    found = {"attack": attacked(witness_at(((0, 2),)))}
    job = submitted(desk, "/v/a.avi", terms=Terms(clip_seconds=0.75))
    desk.serve(a=found)
    assert desk.rows("SELECT verdict FROM videos") == [("open",)]
    assert words(flowcert, job) == {"a": ("violated", "violated")}


def test_a_lipschitz_constant_proves_nothing(desk, flowcert):
    job = submitted(desk, "/v/a.avi", lipschitz="estimated")
    desk.serve(a={"estimate": estimated(0.001)})
    (row,) = json.loads(flowcert("results", job, "--json")[1])
    assert (row["verdict"], row["msr_lower"], row["msr_lower_guarantee"]) == ("robust", 8.0, "lipschitz:estimated")
    assert words(flowcert, job) == {"a": ("holds", "unknown")}
    # Guided by the constant, exploring leaves out points that it says are safe.
    with desk.engine.begin() as connection:
        connection.execute(sa.text("UPDATE bounds SET lower_guarantee = 'lipschitz:estimated'"))
    assert words(flowcert, job) == {"a": ("unknown", "unknown")}


def test_every_format_has_the_same_rows(desk, flowcert, tmp_path):
    job = submitted(desk, "/v/a.avi", '/v/ü,\n"b".avi')
    desk.serve(a={"attack": attacked(witness_at(NEAR))})
    rows = json.loads(flowcert("results", job, "--format", "json")[1])
    assert rows == json.loads(flowcert("results", job, "--json")[1])
    assert [row["video"] for row in rows] == ["/v/a.avi", '/v/ü,\n"b".avi']
    status, output, notes = flowcert("results", job, "--format", "csv")
    assert (status, notes) == (0, "")
    table = list(csv.DictReader(io.StringIO(output, newline="")))
    assert [row.keys() for row in table] == [row.keys() for row in rows]
    assert [(row["video"], row["vnncomp_grid"]) for row in table] == [
        (row["video"], row["vnncomp_grid"]) for row in rows
    ]  # fmt: skip
    # A file's ending says its format, unless the option does.
    for name, option in (("r.parquet", ()), ("rows", ("--format", "parquet"))):
        assert flowcert("results", job, "--out", tmp_path / name, *option)[:2] == (0, "")
        columns = pq.read_table(tmp_path / name).to_pylist()
        assert [row["vnncomp_real"] for row in columns] == [row["vnncomp_real"] for row in rows]
        assert (columns[0]["fmsr_upper"], columns[1]["fmsr_upper"]) == (2.0, math.inf)
    for name, text in (("r.csv", output), ("r.json", flowcert("results", job, "--json")[1])):
        assert flowcert("results", job, "--out", tmp_path / name)[:2] == (0, "")
        assert (tmp_path / name).read_bytes() == text.encode()
    assert flowcert("results", job, "--out", tmp_path / "r.txt")[:2] == (0, "")
    assert (tmp_path / "r.txt").read_text() == flowcert("results", job)[1]


def test_formats_that_cannot_be_are_refused(desk, flowcert):
    job = submitted(desk, "/v/a.avi")
    for options, problem in (
        (("--format", "parquet"), "error: --format: parquet is no text; name a file with --out FILE\n"),
        (("--format", "csv", "--json"), "error: --json: is short for --format json; leave out --format csv\n"),
        (("--format", "xml"), "error: --format: "),
    ):
        status, output, notes = flowcert("results", job, *options)
        assert (status, output) == (2, "")
        assert notes.startswith(problem)
