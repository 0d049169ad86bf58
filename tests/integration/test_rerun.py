"""A rerun takes up what it names and nothing else: no finished work is lost, no bound is believed that was refused."""

from __future__ import annotations

from pathlib import Path

import pytest
import sqlalchemy as sa
from sqlalchemy.orm import Session

from common.celery_app import make_app
from common.errors import InputError
from common.store.tables import Video
from common.vocab import Verdict
from scheduler.clips import fail
from scheduler.intake import FoundClip, Terms, cancel, pause, rerun_all, rerun_failed, rerun_missing, submit
from scheduler.intake.dataset import MISSING
from tests.rows import Desk, attacked, make_spec, prepared


@pytest.fixture
def desk(engine: sa.Engine, database_url: str, broker_url: str) -> Desk:
    """A scheduler and two workers on a fresh database."""
    return Desk(engine, database_url, make_app(broker_url, task_seconds=1.0))


def statuses(desk: Desk, job: int = 1) -> dict[str, str]:
    rows = desk.rows(f"SELECT path, status FROM videos WHERE job_id = {job} ORDER BY id")
    return {Path(path).name: status for path, status in rows}


def give_up(desk: Desk, path: str, kind: str, reason: str = "out of memory") -> None:
    """Let a clip's task of this kind fail for good."""
    query = "SELECT t.id FROM tasks t JOIN videos v ON v.id = t.video_id WHERE v.path = :path AND t.kind = :kind"
    with desk.engine.connect() as connection:
        tasks = list(connection.scalars(sa.text(query + " AND t.state = 'ready'"), {"path": path, "kind": kind}))
    claim = desk.claim(tasks[0])
    assert (claim.video, claim.kind) == (path, kind)
    desk.ann.give_up(claim, f"{path}: {reason}", final=True)
    desk.round()
    assert desk.video(path).verdict == Verdict.FAILED


def finish(desk: Desk) -> None:
    """Work honestly until nothing is ready."""
    desk.round()
    while desk.ready():
        kinds = {row[0] for row in desk.rows("SELECT kind FROM tasks WHERE state = 'ready'")}
        if kinds == {"explore"}:
            desk.work_off()
            return
        for task in desk.ready():
            claim = desk.ann.claim(task)
            if claim.kind != "explore":
                desk.ann.append(claim, prepared() if claim.kind == "prepare" else attacked(), 0.5)
            else:
                desk.ann.give_up(claim, "later", final=False)
        desk.round()


def test_failed_clips_go_on_from_what_is_known_of_them(desk: Desk) -> None:
    paths = [f"/videos/{name}.avi" for name in ("fresh", "attack", "explore", "wrong", "fine")]
    job = desk.submit(*paths)
    desk.round()
    give_up(desk, paths[0], "prepare")
    for task in desk.ready():
        desk.ann.append(desk.claim(task), prepared(), 0.5)
    desk.round()
    give_up(desk, paths[1], "attack")
    for task in desk.ready():
        desk.ann.append(desk.claim(task), attacked(), 0.5)
    desk.round()
    give_up(desk, paths[2], "explore")
    with Session(desk.engine, autoflush=False) as session, session.begin():
        video = session.scalars(sa.select(Video).where(Video.path == paths[3])).one()
        fail(session, video, "bounds crossed: lower cost 4 above upper cost 3; quarantined")
    desk.work_off()
    assert desk.rows("SELECT status FROM jobs") == [("done",)]
    merged = desk.rows("SELECT count(*) FROM results")

    done = rerun_failed(desk.engine, job)
    assert (done.job_id, done.begun, done.kept) == (job, 3, 1)
    assert statuses(desk) == {
        "fresh.avi": "pending", "attack.avi": "prepared", "explore.avi": "exploring", "wrong.avi": "failed",
        "fine.avi": "done",
    }  # fmt: skip
    assert desk.rows("SELECT count(*) FROM results") == merged
    desk.round()
    # The failures of before fail nothing again.
    assert desk.rows("SELECT status FROM jobs") == [("running",)]
    finish(desk)
    assert {desk.video(path).verdict for path in paths if path != paths[3]} == {Verdict.ROBUST}
    assert desk.video(paths[2]).points_explored == 133
    assert desk.rows("SELECT status FROM jobs") == [("done",)]
    with pytest.raises(InputError, match="job 1: has no clip that a task failed; 1 clips stay failed"):
        rerun_failed(desk.engine, job)


def test_a_failed_task_of_a_clip_that_contradicts_itself_does_not_bring_it_back(desk: Desk) -> None:
    desk.task_points = 20
    job = desk.submit()
    desk.to_explore()
    task = desk.claim()
    with Session(desk.engine, autoflush=False) as session, session.begin():
        # Between two rounds a task fails, and a result of another one contradicts what is known.
        desk.ann.give_up(task, "out of memory", final=True)
        fail(session, session.scalars(sa.select(Video)).one(), "bounds crossed; quarantined")
    desk.round()
    with pytest.raises(InputError, match="has no clip that a task failed"):
        rerun_failed(desk.engine, job)


def test_clips_that_were_missing_are_taken_up_when_they_are_there(desk: Desk, tmp_path: Path) -> None:
    gone, still, other = (tmp_path / name for name in ("gone.avi", "still.avi", "other.avi"))
    fine = tmp_path / "fine.avi"
    fine.write_bytes(b"video")
    other.write_bytes(b"video")
    clips = [
        FoundClip("walk", str(fine)), FoundClip("walk", str(gone), MISSING), FoundClip("walk", str(still), MISSING),
        FoundClip("fly", str(other), "its label 'fly' is not one of the model's 2 classes"),
    ]  # fmt: skip
    job = submit(desk.engine, make_spec(), clips, 1000).job_id
    with pytest.raises(InputError, match="has no clip that could not be used when it was submitted, and can be now"):
        rerun_missing(desk.engine, job)
    gone.write_bytes(b"video")
    with pytest.raises(InputError, match="has no clip that a task failed; 3 clips stay failed"):
        rerun_failed(desk.engine, job)
    done = rerun_missing(desk.engine, job)
    assert (done.job_id, done.begun, done.kept) == (job, 1, 2)
    assert statuses(desk) == {
        "fine.avi": "pending", "gone.avi": "pending", "still.avi": "failed", "other.avi": "failed",
    }  # fmt: skip
    assert desk.rows("SELECT kind, state FROM tasks") == [("prepare", "ready")] * 2


def test_a_rerun_of_all_clips_is_a_generation_of_its_own(desk: Desk, tmp_path: Path) -> None:
    one, two = (tmp_path / f"{name}.avi" for name in ("one", "two"))
    clips = [FoundClip("walk", str(one)), FoundClip("walk", str(two), MISSING)]
    terms = Terms(priority=3, clip_seconds=60, wall_seconds=600)
    job = submit(desk.engine, make_spec(), clips, 1000, terms).job_id
    desk.pace.sizes[job] = 1000
    with pytest.raises(InputError, match="job 1: is running; let it end or cancel it first"):
        rerun_all(desk.engine, job)
    finish(desk)
    before = desk.rows("SELECT * FROM videos ORDER BY id"), desk.rows("SELECT * FROM bounds")
    with pytest.raises(InputError, match="job 1: has no clip whose file can be used now"):
        rerun_all(desk.engine, job)
    one.write_bytes(b"video")
    two.write_bytes(b"video")

    done = rerun_all(desk.engine, job)
    assert (done.job_id, done.begun, done.kept) == (done.job_id, 2, 0)
    assert done.job_id != job
    assert desk.rows("SELECT generation, status, priority, budget_points, budget_clip_seconds, budget_wall_seconds"
                     " FROM jobs ORDER BY id") == [
        (1, "done", 3, 1000, 60, 600), (2, "running", 3, 1000, 60, 600),
    ]  # fmt: skip
    assert desk.rows("SELECT count(DISTINCT digest) FROM jobs") == [(1,)]
    # A repeated submit goes on with the latest; the old one stays as it is.
    assert submit(desk.engine, make_spec(), clips[:1], 1000).job_id == done.job_id
    desk.pace.sizes[done.job_id] = 1000
    with pytest.raises(InputError, match=f"job {done.job_id}: is running; let it end or cancel it first"):
        rerun_all(desk.engine, job)
    finish(desk)
    assert [row[0] for row in desk.rows("SELECT verdict FROM videos ORDER BY id")] == [
        "robust", "failed", "robust", "robust",
    ]  # fmt: skip
    assert desk.rows(f"SELECT * FROM videos WHERE job_id = {job} ORDER BY id") == before[0]
    assert desk.rows("SELECT * FROM bounds")[:1] == before[1]


def test_a_rerun_leaves_a_paused_job_paused_and_a_cancelled_one_alone(desk: Desk) -> None:
    job = desk.submit("/videos/a.avi", "/videos/b.avi")
    desk.round()
    give_up(desk, "/videos/a.avi", "prepare")
    pause(desk.engine, job)
    assert rerun_failed(desk.engine, job).begun == 1
    assert desk.rows("SELECT status FROM jobs") == [("paused",)]
    cancel(desk.engine, job)
    for rerun in (rerun_failed, rerun_missing):
        with pytest.raises(InputError, match="job 1: is cancelled; submit it again first"):
            rerun(desk.engine, job)
    for rerun in (rerun_failed, rerun_missing, rerun_all):
        with pytest.raises(InputError, match="job 9: does not exist"):
            rerun(desk.engine, 9)
