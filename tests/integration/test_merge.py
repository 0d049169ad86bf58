"""Interrupted, shuffled and budgeted explorations end where patient and undisturbed ones do."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from random import Random

import pytest
import sqlalchemy as sa
from sqlalchemy.orm import Session

from common.celery_app import make_app
from common.game import Game, cut, whole
from common.settings import Settings
from common.store.tables import SubtreeRow, Task
from common.vocab import JobStatus, Norm, StopReason, TaskState, Verdict, VideoStatus
from common.wire import Claim, Explored
from scheduler.frontier import subtree_of
from scheduler.intake.dataset import FoundClip
from scheduler.intake.submit import submit
from tests.enumeration import points
from tests.rows import SIZES, Desk, honest, make_spec, prepared, witness_at

GAME, RADIUS = Game(SIZES, Norm.L1), 8
#: Every point of the made-up game with its cost: 1, 4, 4, 8, 16, 20, 32 and 48 of them cost 0, 2, 3, 4, 5, 6, 7 and 8.
EVERY = dict(points(GAME, whole(GAME), 0, lambda: RADIUS + 1))
#: The cheapest adversarial point, cost 5, when ``adversarial`` says what is.
CHEAPEST = ((0, 1), (2, -1))


def adversarial(point):
    held = dict(point)
    return held.get(0, 0) >= 1 and held.get(2, 0) <= -1


@pytest.fixture
def desk(engine: sa.Engine, database_url: str, broker_url: str) -> Desk:
    """A scheduler and two workers on a fresh database."""
    return Desk(engine, database_url, make_app(broker_url, task_seconds=1.0))


def listed(claim: Claim) -> list:
    """Points that a claim asks for, in the order of enumeration."""
    return [point for point, _ in points(GAME, claim.subtree(), claim.floor, lambda: claim.threshold)]


def cut_short(claim: Claim, patience: int, is_adversarial: Callable = lambda _: False) -> tuple[Explored, list]:
    """Explore a claim until ``patience`` points are evaluated; returns the points too."""
    reached = claim.threshold if claim.upper is None else min(claim.threshold, max(claim.upper, claim.floor))
    found, seen = None, []
    for point, cost in points(GAME, claim.subtree(), claim.floor, lambda: reached):  # noqa: B023 - it is meant to fall.
        seen.append(point)
        if is_adversarial(point):
            reached, found = cost, point
        if len(seen) == patience:
            break
    else:
        return honest(claim, is_adversarial), seen
    result = Explored(
        stop=StopReason.POINTS, position=seen[-1], explored=len(seen), reached=reached, undecided=None,
        witness=None if found is None else witness_at(found),
    )  # fmt: skip
    return result, seen


@pytest.mark.parametrize("patience", [1, 2, 10, 32])
def test_an_interrupted_result_is_cut_into_parts_that_are_done_and_parts_that_are_left(desk: Desk, patience) -> None:
    desk.submit()
    desk.to_explore()
    claim = desk.claim()
    order = listed(claim)
    result, seen = cut_short(claim, patience)
    assert seen == order[:patience]
    assert patience < len(order)
    desk.ann.append(claim, result, 1.0)
    desk.round()
    with Session(desk.engine) as session:
        rows = session.scalars(sa.select(SubtreeRow).order_by(SubtreeRow.id)).all()
        parent, parts = rows[0], [row for row in rows[1:] if not row.split]
        assert parent.split
        inside = {
            row.id: [p for p, _ in points(GAME, subtree_of(row), row.floor, lambda: claim.threshold)] for row in parts
        }
        busy = set(session.scalars(sa.select(Task.subtree_id).where(Task.state == TaskState.READY)))
    assert Counter(p for some in inside.values() for p in some) == Counter(order)
    done = [p for row in parts if row.lower == claim.threshold for p in inside[row.id]]
    left = [p for row in parts if row.lower == claim.floor for p in inside[row.id]]
    assert sorted(done) == sorted(seen)
    assert sorted(left) == sorted(order[patience:])
    assert sorted(p for at in busy for p in inside[at]) == sorted(left)


def test_nothing_interrupted_is_explored_twice(desk: Desk) -> None:
    desk.task_points = 30
    desk.submit()
    desk.to_explore()
    explored = []
    rng = Random(3)
    while ready := desk.ready():
        for task in ready:
            claim = desk.claim(task)
            result, seen = cut_short(claim, rng.randint(1, 20))
            explored += seen
            desk.ann.append(claim, result, 0.1)
        desk.round()
    assert sorted(explored) == sorted(EVERY)
    assert desk.video().points_explored == len(EVERY)
    assert desk.video().verdict == Verdict.ROBUST


@pytest.mark.parametrize("seed", range(6))
def test_interruptions_repetitions_and_disorder_change_no_bound(desk: Desk, seed: int) -> None:
    rng = Random(seed)
    desk.task_points = rng.choice([1, 5, 20, 1000])
    is_adversarial = adversarial if rng.random() < 0.7 else lambda _: False
    desk.submit("/videos/a.avi", "/videos/b.avi")
    desk.to_explore()
    held: list[tuple[Claim, Explored]] = []
    while desk.ready() or held:
        for task in desk.ready():
            claim = desk.claim(task, rng.choice([desk.ann, desk.ann, desk.doomed]))
            held.append((claim, cut_short(claim, rng.randint(1, 30), is_adversarial)[0]))
        rng.shuffle(held)
        for _ in range(rng.randint(1, len(held))):
            claim, result = held.pop()
            for _ in range(rng.choice([1, 1, 2])):
                desk.ann.append(claim, result, 0.1)
        desk.settings = Settings(window=100, max_attempts=1000)
        desk.round()
    expected = (Verdict.SOLVED, (5, 5)) if is_adversarial is adversarial else (Verdict.ROBUST, (RADIUS + 1, None))
    for path in ("/videos/a.avi", "/videos/b.avi"):
        assert (desk.video(path).verdict, desk.bounds(path)) == expected
        below = sum(cost < 5 for cost in EVERY.values()) if expected[0] == Verdict.SOLVED else len(EVERY)
        assert below <= desk.video(path).points_explored <= len(EVERY)


def test_points_that_an_interrupted_result_skipped_are_found_out(desk: Desk) -> None:
    desk.submit()
    desk.to_explore()
    claim = desk.claim()
    result, seen = cut_short(claim, 10)
    later = listed(claim)[20]
    assert sum(len(list(points(GAME, part, 0, lambda: 6))) for part in cut(GAME, claim.subtree(), later)[0]) == 21
    desk.ann.append(claim, result.model_copy(update={"position": later}), 1.0)
    desk.round()
    assert desk.video().verdict == Verdict.FAILED
    assert "reports 10 points explored; its subtree has between 21 and 21" in desk.video().reason


def test_a_silent_workers_attempts_explain_themselves(desk: Desk) -> None:
    desk.submit()
    desk.round()
    (task,) = desk.ready()
    for _ in range(3):
        desk.claim(task, desk.doomed)
        desk.round()
    assert desk.rows("SELECT attempt, outcome, reason FROM attempts ORDER BY attempt") == [
        (attempt, "expired", "worker ann fell silent") for attempt in (1, 2, 3)
    ]
    assert desk.rows("SELECT state, reason FROM tasks") == [("failed", desk.video().reason)]
    assert desk.rows("SELECT status FROM jobs") == [("done",)]


def with_budget(desk: Desk, budget: int):
    done = submit(desk.engine, make_spec(), [FoundClip("walk", "/videos/a.avi")], budget)
    desk.pace.sizes[done.job_id] = 1000
    return done


def test_a_spent_budget_leaves_the_clip_open_and_a_larger_one_goes_on(desk: Desk) -> None:
    with_budget(desk, 60)
    desk.to_explore()
    desk.work_off()
    video = desk.video()
    # Costs up to 5 make the first level (33 points), cost 6 the next (20), cost 7 would need 32 more.
    assert (video.status, video.verdict) == (VideoStatus.DONE, Verdict.OPEN)
    assert video.reason == "the next level has 32 points; 53 of 60 are spent"
    assert desk.bounds() == (7, None)
    assert desk.rows("SELECT status FROM jobs") == [(JobStatus.DONE,)]
    assert with_budget(desk, 60).reopened == 0
    assert with_budget(desk, 90).reopened == 1
    desk.round()
    desk.work_off()
    assert (desk.video().reason, desk.bounds()) == ("the next level has 48 points; 85 of 90 are spent", (8, None))
    assert with_budget(desk, 1000).reopened == 1
    desk.round()
    desk.work_off()
    video = desk.video()
    assert (video.verdict, video.reason) == (Verdict.ROBUST, None)
    assert video.points_explored == len(EVERY)
    assert desk.rows("SELECT status FROM jobs") == [(JobStatus.DONE,)]


def test_a_budget_below_the_first_level_explores_nothing(desk: Desk) -> None:
    with_budget(desk, 32)
    desk.to_explore()
    assert desk.ready() == []
    video = desk.video()
    assert (video.verdict, video.reason) == (Verdict.OPEN, "the next level has 33 points; 0 of 32 are spent")
    assert video.points_explored == 0
    assert desk.bounds() == (0, None)
    assert with_budget(desk, 33).reopened == 1
    desk.round()
    desk.work_off()
    assert desk.video().points_explored == 33
    assert desk.bounds() == (6, None)


def test_a_witness_can_bring_a_level_within_the_budget(desk: Desk) -> None:
    with_budget(desk, 32)
    desk.to_explore(witness_at(CHEAPEST))
    desk.work_off(adversarial)
    assert (desk.video().verdict, desk.bounds()) == (Verdict.SOLVED, (5, 5))
    assert desk.video().points_explored == sum(cost < 5 for cost in EVERY.values())


@pytest.mark.parametrize("sizes", [[[(65, 1)], [(3, 1)]], [[(2, 40)], [(3, 1)]], [[(2, 1)]] * 3])
def test_a_clip_of_more_than_its_frames_is_refused(desk: Desk, sizes: list[list[tuple[int, int]]]) -> None:
    desk.submit()
    desk.answer(prepared(region_sizes=sizes))
    assert desk.video().status == "failed"
    assert "the job's 3 frames have 64" in desk.video().reason
