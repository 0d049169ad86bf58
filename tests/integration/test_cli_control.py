"""The commands that steer jobs: what they say, and what they refuse in one line."""

from __future__ import annotations

import json

import pytest

from scheduler.intake import FoundClip, Terms, cancel, submit
from tests.rows import make_spec


@pytest.fixture
def job(engine):
    """A job of two clips with budgets of time."""
    clips = [FoundClip("walk", "/videos/a.avi"), FoundClip("walk", "/videos/b.avi")]
    return submit(engine, make_spec(), clips, 1000, Terms(clip_seconds=30, wall_seconds=5400)).job_id


def shown(flowcert):
    (row,) = json.loads(flowcert("status", "--json")[1])
    return row


def test_a_job_is_paused_and_goes_on(flowcert, job):
    assert flowcert("pause") == (
        0, "", f"job {job} is paused, 0 tasks are being handed in; flowcert resume {job} goes on\n",
    )  # fmt: skip
    assert shown(flowcert)["status"] == "paused"
    assert "paused" in flowcert("status")[1]
    assert flowcert("pause", job) == (2, "", f"error: job {job}: is not running but paused\n")
    assert flowcert("resume", job) == (0, "", f"job {job} goes on; 2 clips are not finished\n")
    assert flowcert("resume") == (2, "", f"error: job {job}: is not paused but running\n")
    assert flowcert("pause", "7") == (2, "", "error: JOB: there is no job '7'; flowcert status lists them\n")


def test_a_priority_may_be_negative(flowcert, job):
    assert shown(flowcert)["priority"] == 0
    assert flowcert("priority", "latest", "-5") == (0, "", f"job {job} has priority -5; it had 0\n")
    assert shown(flowcert)["priority"] == -5
    assert flowcert("priority", job, 7)[0] == 0
    status, _, notes = flowcert("priority", job, 1001)
    assert (status, notes) == (2, "error: NUMBER: Input should be less than or equal to 1000\n")
    assert shown(flowcert)["priority"] == 7


def test_budgets_are_shown(flowcert, job):
    row = shown(flowcert)
    assert [row[f"budget_{name}"] for name in ("points", "clip_seconds", "wall_seconds")] == [1000, 30, 5400]
    assert (row["wall_seconds"], row["generation"]) == (0, 1)
    assert "1,000, 30 s a clip, 0 s of 1.5 h" in flowcert("status")[1]


def test_a_rerun_needs_one_word_about_what(flowcert, engine, job):
    for options in ((), ("--failed", "--all"), ("--failed", "--missing", "--all")):
        assert flowcert("rerun", job, *options) == (
            2, "", "error: flowcert rerun: give exactly one of --failed, --missing and --all\n",
        )  # fmt: skip
    assert flowcert("rerun", job, "--failed")[2] == (
        f"error: job {job}: has no clip that a task failed; 0 clips stay failed, flowcert results says why\n"
    )
    assert flowcert("rerun", "--all")[2] == f"error: job {job}: is running; let it end or cancel it first\n"


def test_a_rerun_prints_the_job_that_works(flowcert, engine, tmp_path):
    video = tmp_path / "a.avi"
    video.write_bytes(b"video")
    first = submit(engine, make_spec(), [FoundClip("walk", str(video))], 1000).job_id
    cancel(engine, first)
    assert flowcert("rerun", first, "--all") == (
        0, "2\n", f"job 2, a new one with what job {first} asks for: 1 clips are worked on again, 0 stay failed\n",
    )  # fmt: skip
    assert [row["generation"] for row in json.loads(flowcert("status", "--json")[1])] == [1, 2]
