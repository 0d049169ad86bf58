"""Submitting creates what is missing and nothing else; resuming never redoes finished work."""

import threading
from contextlib import contextmanager

import pytest
import sqlalchemy as sa
from sqlalchemy.orm import Session

from common.errors import InputError
from common.jobspec import FarnebackSpec, JobSpec, ModelSpec, SamplingSpec
from common.store.tables import Attempt, Bound, Job, SubtreeRow, Task, Video, Worker
from common.vocab import TaskState, Verdict, VideoStatus
from common.wire import Prepared
from scheduler.clips import fail, finish, prepared
from scheduler.exploration import plan
from scheduler.intake import FoundClip, cancel, submit
from scheduler.reap import reap

SPEC = JobSpec(
    dataset="/d",
    model=ModelSpec(name="cnn_lstm", weights="/w", classes=("A", "B"), sha256="0" * 64),
    sampling=SamplingSpec(frames=2, height=8, width=8),
    flow=FarnebackSpec(),
    features="grid:2x2",
    norm="L2",
    tau="1",
    radius="40",
)
CLIPS = [FoundClip("A", "/d/A/1.avi"), FoundClip("B", "/d/B/2.avi"), FoundClip("C", "/d/C/3.avi", "no such class")]
PREPARED = Prepared(clip_digest="f" * 64, region_sizes=[[(16, 4)]], predicted="A", margin=1.0)


@contextmanager
def open_session(engine):
    with Session(engine, autoflush=False) as session, session.begin():
        yield session


def states(engine):
    """Status of each clip, and kinds and states of its tasks."""
    with open_session(engine) as session:
        return {
            video.path: (
                video.status,
                [
                    (task.kind, task.state)
                    for task in session.scalars(sa.select(Task).where(Task.video_id == video.id).order_by(Task.id))
                ],
            )
            for video in session.scalars(sa.select(Video))
        }


def job_of(engine):
    with open_session(engine) as session:
        job = session.scalars(sa.select(Job)).one()
        return job.status, job.budget_points, job.finished_at


def prepare(engine, path, **changes):
    """Merge a prepare result for a clip."""
    with open_session(engine) as session:
        video = session.scalars(sa.select(Video).where(Video.path == path)).one()
        for task in session.scalars(sa.select(Task).where(Task.video_id == video.id)):
            task.state, task.finished_at = TaskState.MERGED.value, sa.func.now()
        session.flush()
        prepared(session, video, SPEC, PREPARED.model_copy(update={"predicted": video.label, **changes}))
        return video.id


def explore(engine, path):
    """Begin the first level of a prepared clip and plan its tasks."""
    video_id = prepare(engine, path)
    with open_session(engine) as session:
        video = session.get_one(Video, video_id)
        session.execute(sa.update(Task).values(state="merged", finished_at=sa.func.now()).where(Task.kind == "attack"))
        video.status, video.floor, video.threshold = "exploring", 0, 100
        session.flush()
        session.add(
            SubtreeRow(video_id=video_id, prefix=[], first=0, last=18, floor=0, threshold=100, lower=0)
        )  # fmt: skip
        session.flush()
        plan(session, video, SPEC, budget=1000, task_points=10**6, room=1, workers=1)


def test_a_new_job_gets_a_prepare_task_for_each_usable_clip(engine):
    done = submit(engine, SPEC, CLIPS, 1000)
    assert (done.created, done.added, done.kept_failed) == (True, 3, 0)
    ready = [("prepare", "ready")]
    assert states(engine) == {
        "/d/A/1.avi": ("pending", ready), "/d/B/2.avi": ("pending", ready), "/d/C/3.avi": ("failed", []),
    }  # fmt: skip
    assert job_of(engine) == ("running", 1000, None)


def test_results_tell_the_bytes_they_speak_of(engine):
    submit(engine, SPEC, CLIPS[:2], 1000)
    for path, digest in (("/d/A/1.avi", "e" * 64), ("/d/B/2.avi", None)):
        # Workers of before the hash do not give it.
        prepare(engine, path, video_sha256=digest)
    with engine.connect() as connection:
        rows = connection.execute(sa.text("SELECT video_sha256 FROM video_bounds ORDER BY video"))
        assert rows.scalars().all() == ["e" * 64, None]


def test_a_second_submit_adds_only_what_is_missing(engine):
    first = submit(engine, SPEC, CLIPS[:1], 1000)
    again = submit(engine, SPEC, CLIPS, 500)
    assert (again.job_id, again.created, again.added) == (first.job_id, False, 2)
    third = submit(engine, SPEC, CLIPS, 500)
    assert (third.added, third.kept_failed) == (0, 1)
    assert len(states(engine)) == 3
    assert job_of(engine)[1] == 1000
    with open_session(engine) as session:
        assert session.scalar(sa.select(sa.func.count()).select_from(Task)) == 2


def test_submits_at_once_make_one_job(engine):
    ids = []
    threads = [threading.Thread(target=lambda: ids.append(submit(engine, SPEC, CLIPS, 1000).job_id)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(ids) == 4
    assert len(set(ids)) == 1
    assert {path: len(tasks) for path, (_, tasks) in states(engine).items()} == {
        "/d/A/1.avi": 1, "/d/B/2.avi": 1, "/d/C/3.avi": 0,
    }  # fmt: skip


def test_a_clip_cannot_change_its_label(engine):
    submit(engine, SPEC, CLIPS, 1000)
    with pytest.raises(InputError, match="is labelled 'A' in job 1, not 'B'"):
        submit(engine, SPEC, [FoundClip("B", "/d/A/1.avi")], 1000)


def test_a_single_video_under_another_label_is_another_job(engine):
    spec = SPEC.model_copy(update={"dataset": "/d/A/1.avi"})
    submits = [submit(engine, spec, [FoundClip(label, "/d/A/1.avi")], 1000) for label in ("A", "B", "A", "B")]
    assert [done.created for done in submits] == [True, True, False, False]
    first, second, third, fourth = (done.job_id for done in submits)
    assert (first, second) == (third, fourth)
    assert first != second


def test_a_cancelled_job_goes_on_where_it_was(engine):
    more = [*CLIPS[:2], FoundClip("A", "/d/A/3.avi")]
    job = submit(engine, SPEC, more, 1000).job_id
    explore(engine, "/d/A/1.avi")
    prepare(engine, "/d/A/3.avi")
    before = states(engine)
    assert before["/d/A/1.avi"] == ("exploring", [("prepare", "merged"), ("attack", "merged"), ("explore", "ready")])

    assert cancel(engine, job) == 3
    assert job_of(engine)[0] == "cancelled"
    assert {status for status, _ in states(engine).values()} == {"cancelled"}
    with open_session(engine) as session:
        assert session.scalars(sa.select(Task).where(Task.finished_at.is_(None))).all() == []
    with pytest.raises(InputError, match="job 1: is not running but cancelled"):
        cancel(engine, job)

    assert submit(engine, SPEC, more, 1000).resumed == 3
    after = states(engine)
    assert job_of(engine) == ("running", 1000, None)
    assert after["/d/B/2.avi"] == ("pending", [("prepare", "cancelled"), ("prepare", "ready")])
    assert after["/d/A/3.avi"] == ("prepared", [("prepare", "merged"), ("attack", "cancelled"), ("attack", "ready")])
    assert after["/d/A/1.avi"][0] == "exploring"
    with open_session(engine) as session:
        video = session.scalars(sa.select(Video).where(Video.path == "/d/A/1.avi")).one()
        assert plan(session, video, SPEC, budget=1000, task_points=10**6, room=5, workers=1) == 1


def test_only_clips_that_failed_before_they_were_prepared_are_retried(engine):
    submit(engine, SPEC, CLIPS, 1000)
    late = prepare(engine, "/d/B/2.avi")
    with open_session(engine) as session:
        fail(session, session.get_one(Video, late), "bounds crossed")
        session.add(Worker(id="w", info={}))
        task = session.scalars(sa.select(Task).where(Task.state == "ready")).one()
        task.state, task.reason, task.attempt, task.finished_at = "failed", "is truncated", 1, sa.func.now()
        session.flush()
        session.add(Attempt(task_id=task.id, attempt=1, worker_id="w"))
        reap(session, 3, 60.0)
    assert states(engine)["/d/A/1.avi"] == ("failed", [("prepare", "failed")])

    done = submit(engine, SPEC, CLIPS, 1000)
    assert (done.retried, done.kept_failed) == (1, 2)
    with open_session(engine) as session:
        # The earlier failure must not fail the clip once more.
        reap(session, 3, 60.0)
    assert states(engine)["/d/A/1.avi"] == ("pending", [("prepare", "cancelled"), ("prepare", "ready")])
    assert states(engine)["/d/B/2.avi"][0] == "failed"


def test_only_a_larger_budget_reopens_open_clips(engine):
    submit(engine, SPEC, CLIPS[:2], 1000)
    explore(engine, "/d/A/1.avi")
    explore(engine, "/d/B/2.avi")
    with open_session(engine) as session:
        for video in session.scalars(sa.select(Video)):
            is_open = video.path == "/d/A/1.avi"
            verdict = Verdict.OPEN if is_open else Verdict.ROBUST
            finish(session, video, VideoStatus.DONE, verdict, "the next level has 9 points" if is_open else None)
        session.execute(sa.update(Job).values(status="done", finished_at=sa.func.now()))
    assert submit(engine, SPEC, CLIPS[:2], 900).reopened == 0
    assert job_of(engine)[:2] == ("done", 1000)
    assert submit(engine, SPEC, CLIPS[:2], 2000).reopened == 1
    assert job_of(engine) == ("running", 2000, None)
    assert {path: status for path, (status, _) in states(engine).items()} == {
        "/d/A/1.avi": "exploring", "/d/B/2.avi": "done",
    }  # fmt: skip
    with open_session(engine) as session:
        assert session.scalar(sa.select(sa.func.count()).select_from(Bound)) == 2


def test_cancelling_what_does_not_exist(engine):
    with pytest.raises(InputError, match="job 7: does not exist"):
        cancel(engine, 7)
