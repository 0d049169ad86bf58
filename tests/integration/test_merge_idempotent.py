"""Duplicated, late, reordered and foreign results: bounds never move wrongly, and one bad clip leaves others alone."""

from __future__ import annotations

import itertools

import pytest
import sqlalchemy as sa

from common.celery_app import make_app
from common.game import Game, whole
from common.vocab import StopReason, Verdict, VideoStatus
from common.wire import WorkerInfo
from scheduler import levels
from scheduler.intake import cancel
from tests.enumeration import points
from tests.rows import SIZES, Desk, attacked, honest, prepared, spec_norm, witness_at

#: The cheapest adversarial point of the made-up clips, cost 5; others are dearer.
CHEAPEST = ((0, 1), (2, -1))


def adversarial(point):
    held = dict(point)
    return held.get(0, 0) >= 1 and held.get(2, 0) <= -1


@pytest.fixture
def desk(engine: sa.Engine, database_url: str, broker_url: str, monkeypatch: pytest.MonkeyPatch) -> Desk:
    """A scheduler and two workers on a fresh database, and clips of a single level."""
    monkeypatch.setattr(levels, "LEAST_LEVEL_POINTS", 10_000)
    return Desk(engine, database_url, make_app(broker_url, task_seconds=1.0))


def game_points(limit: int = 8) -> dict:
    """Every point of the made-up game with its cost."""
    game = Game(SIZES, spec_norm("L1"))
    return dict(points(game, whole(game), 0, lambda: limit + 1))


EVERYTHING = """SELECT json_build_array(
    (SELECT json_agg(b ORDER BY video_id) FROM bounds b), (SELECT json_agg(e ORDER BY id) FROM bound_events e),
    (SELECT json_agg(s ORDER BY id) FROM subtrees s), (SELECT json_agg(v ORDER BY id) FROM videos v),
    (SELECT json_agg(w ORDER BY id) FROM witnesses w), (SELECT json_agg(r ORDER BY task_id) FROM results r),
    (SELECT json_agg(t ORDER BY id) FROM tasks t))::text"""


def test_a_second_attempts_result_is_late_and_changes_nothing(desk: Desk) -> None:
    desk.submit()
    desk.to_explore()
    (task,) = desk.ready()
    first = desk.claim(task, desk.doomed)
    desk.round()
    assert desk.ready() == [task]
    second = desk.claim(task, desk.bob)
    assert second.attempt == 2
    assert desk.bob.append(second, honest(second, adversarial), 1.0) == "accepted"
    desk.round()
    assert desk.video().verdict == Verdict.SOLVED
    assert desk.bounds() == (5, 5)
    before = desk.rows(EVERYTHING)
    assert desk.ann.append(first, honest(first, adversarial), 1.0) == "late"
    assert desk.bob.append(second, honest(second, adversarial), 1.0) == "late"
    desk.round()
    assert desk.rows(EVERYTHING) == before
    ended = desk.rows(f"SELECT attempt, worker_id, outcome FROM attempts WHERE task_id = {task} ORDER BY attempt")
    assert ended == [(1, "ann", "late"), (2, "bob", "returned")]


def test_a_result_after_its_lease_is_taken_when_it_is_the_first(desk: Desk) -> None:
    desk.submit()
    desk.to_explore()
    (task,) = desk.ready()
    first = desk.claim(task, desk.doomed)
    desk.round()
    second = desk.claim(task, desk.bob)
    assert desk.ann.append(first, honest(first), 1.0) == "accepted"
    assert desk.bob.append(second, honest(second, adversarial), 1.0) == "late"
    desk.round()
    # The first result stands, whatever a second one says.
    assert desk.video().verdict == Verdict.ROBUST
    assert desk.video().points_explored == len(game_points())
    assert desk.rows(f"SELECT attempt, worker_id FROM results WHERE task_id = {task}") == [(1, "ann")]


def test_a_worker_is_told_when_its_task_is_no_longer_its_own(desk: Desk) -> None:
    desk.submit()
    desk.round()
    claim = desk.claim(store=desk.doomed)
    info = WorkerInfo(host="test", pid=1, device="cpu", versions={})
    assert desk.doomed.beat(info, claim.task, claim.attempt).wanted
    desk.round()
    assert not desk.doomed.beat(info, claim.task, claim.attempt).wanted
    other = desk.claim(store=desk.bob)
    assert not desk.ann.beat(info, claim.task, claim.attempt).wanted
    assert desk.bob.beat(info, other.task, other.attempt).wanted


def test_the_order_of_results_does_not_matter(desk: Desk) -> None:
    desk.task_points = 12
    ends = []
    for order in itertools.permutations(range(3)):
        desk.submit(f"/videos/{order}.avi", dataset=f"/{order}")
        desk.to_explore()
        tasks = desk.ready()
        assert len(tasks) > 5
        claims = [desk.claim(task) for task in tasks]
        thirds = [claims[at::3] for at in order]
        for claim in itertools.chain(*thirds):
            desk.ann.append(claim, honest(claim, adversarial), 0.0)
            desk.round()
        desk.work_off(adversarial)
        video = desk.video(f"/videos/{order}.avi")
        ends.append((video.verdict, desk.bounds(video.path), video.points_needed))
    cheaper = sum(cost < 5 for cost in game_points().values())
    assert set(ends) == {(Verdict.SOLVED, (5, 5), cheaper)}


def test_bounds_only_tighten_on_the_way(desk: Desk) -> None:
    desk.task_points = 5
    desk.submit()
    desk.to_explore(witness_at(((0, 2), (2, -1))))
    desk.work_off(adversarial)
    trace = desk.rows("SELECT lower, upper FROM bound_events ORDER BY id")
    assert trace[0] == (0, None)
    assert trace[1] == (0, 7)
    assert trace[-1] == (5, 5)
    for (low, high), (lower, upper) in itertools.pairwise(trace[1:]):
        assert lower >= low
        assert upper <= high


FOREIGN = {
    "too few points": (lambda r: {"explored": r.explored - 1}, "points explored"),
    "too many points": (lambda r: {"explored": r.explored + 1}, "points explored"),
    "a witness of another cost": (
        lambda r: {"witness": witness_at(CHEAPEST).model_copy(update={"cost": 4}), "reached": 5},
        "its point costs 5",
    ),
    "a witness beyond the radius": (lambda r: {"witness": witness_at(((2, 9),))}, "does not have"),
    "an unchanged clip as witness": (lambda r: {"witness": witness_at(())}, "unchanged clip as adversarial"),
    "a witness outside the game": (
        lambda r: {"witness": witness_at(CHEAPEST).model_copy(update={"point": ((9, 1),)})},
        "does not have",
    ),
    "a witness that moves a coordinate twice": (
        lambda r: {"witness": witness_at(CHEAPEST).model_copy(update={"point": ((0, 1), (0, 1)), "cost": 4})},
        "does not have",
    ),
    "a position outside the game": (lambda r: {"position": ((7, 1),)}, "does not have"),
    "a level not reached": (lambda r: {"reached": 100}, "outside its level"),
    "an undecided point beyond the level": (lambda r: {"undecided": 100}, "outside its level"),
}


@pytest.mark.parametrize(("change", "problem"), FOREIGN.values(), ids=FOREIGN.keys())
def test_a_foreign_result_fails_its_clip_only(desk: Desk, change, problem: str) -> None:
    desk.submit("/videos/a.avi", "/videos/b.avi")
    desk.to_explore()
    claims = [desk.claim(task) for task in desk.ready()]
    bad, good = sorted(claims, key=lambda claim: claim.video)
    truth = honest(bad)
    desk.ann.append(bad, truth.model_copy(update=change(truth)), 1.0)
    desk.round()
    video = desk.video("/videos/a.avi")
    assert (video.status, video.verdict) == (VideoStatus.FAILED, Verdict.FAILED)
    assert problem in video.reason
    assert "\n" not in video.reason
    assert desk.bounds("/videos/a.avi") == (0, None)
    desk.ann.append(good, honest(good), 1.0)
    desk.round()
    assert desk.video("/videos/b.avi").verdict == Verdict.ROBUST
    assert desk.rows("SELECT status FROM jobs") == [("done",)]
    assert desk.rows("SELECT state, count(*) FROM tasks GROUP BY state") == [("merged", 6)]


@pytest.mark.parametrize("field", ["stop", "explored", "witness", "trust"])
def test_a_document_that_does_not_validate_fails_its_clip_only(desk: Desk, field: str) -> None:
    desk.submit("/videos/a.avi", "/videos/b.avi")
    desk.to_explore()
    for task in desk.ready():
        claim = desk.claim(task)
        document = honest(claim).model_dump(mode="json")
        if claim.video == "/videos/a.avi":
            document[field] = "nonsense"
        desk.ann._end(claim, payload=document, seconds=1.0)
    desk.round()
    assert desk.video("/videos/a.avi").verdict == Verdict.FAILED
    assert desk.video("/videos/b.avi").verdict == Verdict.ROBUST


def test_a_position_in_another_subtree_is_refused(desk: Desk) -> None:
    desk.task_points = 12
    desk.submit()
    desk.to_explore()
    claim = desk.claim(desk.ready()[-1])
    assert claim.first > 0
    desk.ann.append(claim, honest(claim).model_copy(update={"position": (), "stop": StopReason.TIME}), 1.0)
    desk.round()
    assert "outside its subtree" in desk.video().reason
    assert desk.ready() == []


def test_crossing_bounds_quarantine_the_clip_only(desk: Desk) -> None:
    desk.submit("/videos/a.avi", "/videos/b.avi")
    desk.to_explore()
    bad, good = sorted((desk.claim(task) for task in desk.ready()), key=lambda claim: claim.video)
    # All is proved up to the radius, and yet there is a witness of cost 5: one of the two is wrong.
    desk.ann.append(bad, honest(bad).model_copy(update={"witness": witness_at(CHEAPEST)}), 1.0)
    desk.ann.append(good, honest(good), 1.0)
    desk.round()
    desk.round()
    video = desk.video("/videos/a.avi")
    assert video.verdict == Verdict.FAILED
    assert "bounds crossed" in video.reason
    assert "quarantined" in video.reason
    assert desk.video("/videos/b.avi").verdict == Verdict.ROBUST
    assert desk.rows("SELECT fmsr_lower, fmsr_upper FROM video_bounds WHERE verdict = 'failed'") == [(None, None)]


def test_attempts_that_are_used_up_fail_the_clip_with_the_reason(desk: Desk) -> None:
    desk.submit("/videos/a.avi", "/videos/b.avi")
    desk.round()
    first, second = desk.ready()
    for attempt in range(1, 4):
        assert desk.claim(first, desk.doomed).attempt == attempt
        desk.round()
    video = desk.video("/videos/a.avi")
    assert video.verdict == Verdict.FAILED
    told = "gave up after 3 attempts, at 3 of which the worker died or hung over it; the last: worker ann fell silent"
    assert video.reason == told
    assert desk.ready() == [second]
    # A message of the failed task is exchanged for the one that is left.
    assert desk.ann.claim(first).task == second
    assert desk.ann.claim(first) is None


def test_an_error_that_may_pass_is_tried_again_and_a_final_one_is_not(desk: Desk) -> None:
    desk.submit("/videos/a.avi", "/videos/b.avi")
    desk.round()
    first, second = desk.ready()
    claim = desk.claim(first)
    desk.ann.give_up(claim, "MemoryError: no room", final=False)
    desk.ann.give_up(desk.claim(second), "/videos/b.avi: is empty (0 bytes)", final=True)
    desk.round()
    assert desk.ready() == [first]
    assert desk.video("/videos/b.avi").reason == "/videos/b.avi: is empty (0 bytes)"
    ended = desk.rows("SELECT task_id, outcome, reason FROM attempts ORDER BY task_id")
    assert ended == [
        (first, "failed", "MemoryError: no room"),
        (second, "failed", "/videos/b.avi: is empty (0 bytes)"),
    ]


def test_an_error_of_an_expired_attempt_leaves_the_next_attempt_alone(desk: Desk) -> None:
    desk.submit()
    desk.round()
    expired = desk.claim(store=desk.doomed)
    desk.round()
    claim = desk.claim(store=desk.bob)
    desk.ann.give_up(expired, "clip: is broken", final=True)
    desk.round()
    assert desk.video().status == VideoStatus.PENDING
    assert desk.bob.append(claim, prepared(), 1.0) == "accepted"


def test_a_task_of_a_cancelled_job_cannot_be_claimed(desk: Desk) -> None:
    job = desk.submit("/videos/a.avi", "/videos/b.avi")
    desk.to_explore()
    claim, other = desk.claim(), desk.ready()[0]
    before = desk.bounds()
    assert cancel(desk.engine, job) == 2
    assert desk.bob.claim(other) is None
    assert not desk.ann.beat(WorkerInfo(host="t", pid=1, device="cpu", versions={}), claim.task, claim.attempt).wanted
    assert desk.ann.append(claim, honest(claim, adversarial), 1.0) == "late"
    desk.round()
    assert desk.bounds() == before
    assert desk.video().status == VideoStatus.CANCELLED
    # Taken up again, the clip goes on from where it was.
    assert desk.submit("/videos/a.avi", "/videos/b.avi") == job
    desk.round()
    desk.work_off(adversarial)
    assert desk.bounds() == (5, 5)
    assert desk.video().verdict == Verdict.SOLVED


def test_a_witness_whose_replay_refuses_it_leaves_the_clip_open(desk: Desk) -> None:
    desk.submit()
    desk.to_explore()
    claim = desk.claim()
    found = honest(claim, adversarial)
    refused = witness_at(CHEAPEST, replayed=False)
    desk.ann.append(claim, found.model_copy(update={"witness": refused, "undecided": 5}), 1.0)
    desk.round()
    video = desk.video()
    assert (video.status, video.verdict) == (VideoStatus.DONE, Verdict.OPEN)
    assert video.reason == "a point of cost 5 has a margin too close to zero to decide"
    assert desk.bounds() == (5, None)
    assert desk.rows("SELECT replayed, cost FROM witnesses") == [(False, 5)]


def test_a_witness_of_the_attack_that_is_not_replayed_moves_no_bound(desk: Desk) -> None:
    desk.submit()
    desk.to_explore(witness_at(CHEAPEST, replayed=False))
    assert desk.bounds() == (0, None)
    desk.work_off()
    assert desk.video().verdict == Verdict.ROBUST


def test_a_point_too_close_to_call_matters_only_below_the_best_witness(desk: Desk) -> None:
    desk.submit()
    desk.to_explore(witness_at(CHEAPEST))
    claim = desk.claim()
    desk.ann.append(claim, honest(claim).model_copy(update={"undecided": 5}), 1.0)
    desk.round()
    assert desk.bounds() == (5, 5)
    assert desk.video().verdict == Verdict.SOLVED


def test_a_misclassified_clip_ends_without_bounds(desk: Desk) -> None:
    desk.submit()
    desk.round()
    desk.ann.append(desk.claim(), prepared(predicted="run", margin=-1.0), 1.0)
    desk.round()
    assert desk.video().verdict == Verdict.MISCLASSIFIED
    assert desk.rows("SELECT * FROM bounds") == []
    assert desk.rows("SELECT status FROM jobs") == [("done",)]


def test_a_result_of_another_kind_is_refused(desk: Desk) -> None:
    desk.submit()
    desk.round()
    desk.ann.append(desk.claim(), attacked(), 1.0)
    desk.round()
    assert desk.video().verdict == Verdict.FAILED


def test_a_radius_below_every_manipulation_fails_the_clip_by_name(desk: Desk) -> None:
    desk.submit(radius="1.5")
    desk.round()
    desk.ann.append(desk.claim(), prepared(), 1.0)
    desk.round()
    assert desk.video().reason.startswith("radius: 1.5 px is below the cheapest manipulation (2 px L1")


def test_an_attempt_that_never_was_is_refused(desk: Desk) -> None:
    desk.submit()
    desk.round()
    claim = desk.claim()
    with pytest.raises(sa.exc.DBAPIError, match="has no attempt 7"):
        desk.ann.append(claim.model_copy(update={"attempt": 7}), prepared(), 1.0)
    with pytest.raises(sa.exc.DBAPIError, match="by worker bob"):
        desk.bob.append(claim, prepared(), 1.0)
