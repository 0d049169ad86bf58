"""What a worker is told and allowed by the four functions: one claim a task, the best bound, no stale work."""

from __future__ import annotations

import threading

import pytest
import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from common.celery_app import make_app
from common.store.engine import open_worker_engine
from common.wire import WorkerInfo
from scheduler.intake import cancel
from scheduler.intake.control import prioritise
from tests.rows import Desk, attacked, honest, make_spec, prepared, witness_at
from worker.store import WorkerStore

INFO = WorkerInfo(host="test", pid=1, device="cpu", versions={"torch": "2"})


@pytest.fixture
def desk(engine: sa.Engine, database_url: str, broker_url: str) -> Desk:
    """A scheduler and two workers on a fresh database."""
    return Desk(engine, database_url, make_app(broker_url, task_seconds=1.0))


def test_of_many_claims_at_once_one_gets_the_task(desk: Desk, database_url: str) -> None:
    desk.submit()
    desk.round()
    (task,) = desk.ready()
    start, claims = threading.Barrier(6), []

    def claim(name: str) -> None:
        store = WorkerStore(open_worker_engine(database_url), name, 60.0)
        store.beat(INFO, None, None)
        start.wait()
        claims.append(store.claim(task))

    threads = [threading.Thread(target=claim, args=(f"worker{number}",)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    (claimed,) = [claim for claim in claims if claim is not None]
    assert len(claims) == 6
    assert claimed.attempt == 1
    assert desk.rows("SELECT attempt FROM attempts") == [(1,)]
    assert desk.rows("SELECT state, worker_id IS NOT NULL FROM tasks") == [("leased", True)]


def test_a_claim_carries_what_its_kind_of_task_needs(desk: Desk) -> None:
    desk.submit()
    desk.round()
    first = desk.claim()
    assert (first.kind, first.spec, first.video, first.label) == ("prepare", make_spec(), "/videos/a.avi", "walk")
    assert (first.clip_digest, first.radius_cost, first.upper, first.prefix, first.floor) == (None,) * 5
    desk.ann.append(first, prepared(), 0.5)
    desk.round()
    second = desk.claim()
    assert (second.kind, second.clip_digest, second.radius_cost, second.upper) == ("attack", "a" * 64, 8, None)
    desk.ann.append(second, attacked(witness_at(((0, 2), (2, -1)))), 0.5)
    desk.round()
    third = desk.claim()
    assert (third.kind, third.upper, third.floor, third.threshold) == ("explore", 7, 0, 6)
    assert (third.subtree().prefix, third.subtree().first, third.subtree().last) == ((), 0, 10)


def test_a_task_that_has_just_failed_waits_for_the_scheduler(desk: Desk) -> None:
    desk.submit()
    desk.round()
    claim = desk.claim()
    desk.ann.give_up(claim, "not to be had", final=False)
    # A second message of the same task may be under way.
    assert desk.ann.claim(claim.task) is None
    desk.round()
    assert desk.claim(claim.task).attempt == 2


def test_stale_messages_find_nothing_to_claim(desk: Desk) -> None:
    desk.submit()
    desk.round()
    (task,) = desk.ready()
    assert desk.ann.claim(987654) is None
    claim = desk.claim(task)
    assert desk.bob.claim(task) is None
    desk.ann.append(claim, prepared(), 0.5)
    assert desk.bob.claim(task) is None
    assert desk.rows("SELECT count(*) FROM attempts") == [(1,)]


def test_a_message_whose_task_is_taken_is_exchanged_for_the_oldest_announced(desk: Desk) -> None:
    desk.submit("/videos/a.avi", "/videos/b.avi", "/videos/c.avi")
    desk.round()
    first, second, third = desk.ready()
    assert desk.claim(first, desk.ann).task == first
    assert desk.bob.claim(first).task == second
    assert desk.ann.claim(second).task == third
    assert desk.bob.claim(third) is None


def test_a_worker_keeps_to_the_clip_it_explored_last(desk: Desk) -> None:
    desk.task_points = 12
    desk.submit("/videos/a.avi", "/videos/b.avi")
    desk.to_explore()
    videos = dict(desk.rows("SELECT id, video_id FROM tasks"))
    mine = desk.ready()[0]
    other = next(task for task in desk.ready() if videos[task] != videos[mine])
    assert desk.claim(mine, desk.ann).task == mine
    assert desk.claim(other, desk.bob).task == other
    # Whatever the message says, each goes on with the clip whose variants it has.
    assert videos[desk.bob.claim(mine).task] == videos[other]
    assert videos[desk.ann.claim(other).task] == videos[mine]


def test_a_worker_leaves_its_clip_for_a_task_of_a_higher_priority_and_comes_back(desk: Desk) -> None:
    desk.task_points = 12
    desk.submit()
    desk.to_explore()
    mine, left, *_ = desk.ready()
    desk.claim(mine)
    urgent = desk.submit("/videos/urgent.avi", tau=2)
    prioritise(desk.engine, urgent, 5)
    desk.round()
    assert [desk.claim(left).kind for _ in range(2)] == ["prepare", "explore"]


def test_a_beat_brings_the_incumbent_that_others_found(desk: Desk) -> None:
    desk.task_points = 12
    desk.submit()
    desk.to_explore()
    mine, other = (desk.claim(task, store) for task, store in zip(desk.ready(), (desk.ann, desk.bob), strict=False))
    assert mine.upper is None
    reply = desk.ann.beat(INFO, mine.task, mine.attempt)
    assert (reply.wanted, reply.upper) == (True, None)
    found = honest(other).model_copy(update={"witness": witness_at(((0, 1), (2, -1)))})
    desk.bob.append(other, found, 0.5)
    desk.round()
    reply = desk.ann.beat(INFO, mine.task, mine.attempt)
    assert (reply.wanted, reply.upper) == (True, 5)
    assert desk.claim(desk.ready()[0]).upper == 5


def test_a_beat_extends_the_lease_of_its_own_task_only(desk: Desk) -> None:
    desk.submit("/videos/a.avi", "/videos/b.avi")
    desk.round()
    one, other = (desk.claim(task, desk.doomed) for task in desk.ready())
    assert desk.ann.beat(INFO, one.task, one.attempt).wanted
    assert not desk.bob.beat(INFO, other.task, other.attempt).wanted
    assert not desk.ann.beat(INFO, other.task, other.attempt + 1).wanted
    assert desk.rows("SELECT id FROM tasks WHERE lease_until > now()") == [(one.task,)]
    desk.round()
    assert desk.ready() == [other.task]


def test_a_cancelled_task_is_not_wanted_and_its_result_comes_late(desk: Desk) -> None:
    job = desk.submit()
    desk.round()
    claim = desk.claim()
    assert desk.ann.beat(INFO, claim.task, claim.attempt).wanted
    cancel(desk.engine, job)
    assert not desk.ann.beat(INFO, claim.task, claim.attempt).wanted
    assert desk.ann.append(claim, prepared(), 0.5) == "late"
    assert desk.ann.give_up(claim, "clip: is broken", final=True) == "failed"
    assert desk.rows("SELECT state, reason FROM tasks") == [("cancelled", None)]
    assert desk.rows("SELECT * FROM results") == []


def test_a_result_is_appended_once_and_a_repeated_append_is_late(desk: Desk) -> None:
    desk.submit()
    desk.round()
    claim = desk.claim()
    assert desk.ann.append(claim, prepared(), 0.5) == "accepted"
    assert desk.ann.append(claim, prepared(predicted="run"), 0.5) == "late"
    assert desk.rows("SELECT payload ->> 'predicted', seconds FROM results") == [("walk", 0.5)]
    assert desk.rows("SELECT outcome FROM attempts") == [("returned",)]
    # An error after the result takes nothing back either.
    desk.ann.give_up(claim, "out of memory", final=True)
    assert desk.rows("SELECT state, reason FROM tasks") == [("returned", None)]
    assert desk.rows("SELECT outcome, reason FROM attempts") == [("returned", None)]


def test_neither_a_result_nor_an_error_is_no_end(desk: Desk, database_url: str) -> None:
    desk.submit()
    desk.round()
    claim = desk.claim()
    empty = sa.text("SELECT worker_append(:task, 1, 'ann', NULL, 1, NULL, false)")
    with open_worker_engine(database_url).begin() as connection, pytest.raises(IntegrityError, match="payload"):
        connection.execute(empty, {"task": claim.task})
    assert desk.rows("SELECT state FROM tasks") == [("leased",)]


def test_a_worker_must_have_shown_itself_before_it_claims(desk: Desk, database_url: str) -> None:
    desk.submit()
    desk.round()
    stranger = WorkerStore(open_worker_engine(database_url), "stranger", 60.0)
    assert stranger.claim(desk.ready()[0]) is None
    assert len(desk.ready()) == 1
