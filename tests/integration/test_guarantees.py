"""Each route to a lower bound on MSR has its own label and its premise; evidence that contradicts it ends the claim."""

from __future__ import annotations

import pytest
import sqlalchemy as sa

from common.celery_app import make_app
from common.vocab import StopReason, TaskKind
from common.wire import Explored, SafePoint
from scheduler.intake import cancel
from tests.rows import Desk, attacked, bounded, estimated, honest, prepared, real_witness, witness_at

#: One step of the first coordinate: two pixels in L1.
STEP = ((0, 1),)


@pytest.fixture
def desk(engine: sa.Engine, database_url: str, broker_url: str) -> Desk:
    return Desk(engine, database_url, make_app(broker_url, task_seconds=1.0))


def known(desk: Desk) -> dict:
    """The clip's row of video_bounds."""
    with desk.engine.connect() as connection:
        return dict(connection.execute(sa.text("SELECT * FROM video_bounds")).mappings().one())


def routes(desk: Desk) -> dict:
    """Lower bound, guarantee and remark of each route."""
    rows = desk.rows("SELECT route, lower, guarantee, remark FROM video_guarantees")
    return {route: tuple(rest) for route, *rest in rows}


def test_a_clip_goes_through_what_its_job_asks_for_and_then_into_exploration(desk: Desk) -> None:
    desk.submit(continuous=True, lipschitz="estimated")
    kinds = []
    for result in (prepared(), attacked(), estimated(0.5), bounded(0.75)):
        desk.round()
        assert desk.rows("SELECT clips, clips_bounded FROM job_progress") == [(1, 0)]
        claim = desk.claim()
        kinds.append(claim.kind)
        desk.ann.append(claim, result, 0.5)
    desk.round()
    assert kinds == [TaskKind.PREPARE, TaskKind.ATTACK, TaskKind.ESTIMATE, TaskKind.BOUND]
    assert desk.rows("SELECT clips, clips_bounded FROM job_progress") == [(1, 1)]
    assert desk.claim().kind == TaskKind.EXPLORE


def test_a_certified_radius_is_the_bound_and_beats_what_a_constant_says(desk: Desk) -> None:
    desk.submit(continuous=True, lipschitz="estimated")
    desk.answer(prepared(margin=1.0), attacked(), estimated(0.5), bounded(0.75))
    assert (known(desk)["msr_lower"], known(desk)["msr_lower_guarantee"]) == (0.75, "continuous")
    found = routes(desk)
    assert found["certified radius"] == (0.75, "continuous", None)
    lower, guarantee, remark = found["margin / constant"]
    assert (lower, guarantee) == (pytest.approx(2.0, abs=1e-8), "lipschitz:estimated")
    assert lower < 2.0
    assert remark == "constant 5.000e-01 logits per px; 16 samples, confidence 0.95, fit p = 0.500"


def test_where_nothing_is_certified_the_constant_bounds_and_the_reason_is_kept(desk: Desk) -> None:
    desk.submit(continuous=True, lipschitz="0.25")
    desk.answer(prepared(margin=1.0), attacked(), bounded(0.0))
    assert known(desk)["msr_lower"] == pytest.approx(4.0, abs=1e-8)
    assert known(desk)["msr_lower_guarantee"] == "lipschitz:assumed"
    assert routes(desk)["certified radius"] == (None, "continuous", "too steep")


def test_no_bound_on_msr_is_claimed_when_none_was_asked_for(desk: Desk) -> None:
    desk.submit()
    desk.to_explore()
    desk.work_off()
    assert (known(desk)["msr_lower"], known(desk)["msr_lower_guarantee"]) == (None, None)
    assert set(routes(desk)) == {"exploration", "error bound"}


def test_a_certificate_beyond_a_witness_is_a_contradiction(desk: Desk) -> None:
    desk.submit(continuous=True)
    desk.answer(prepared(), attacked(real=real_witness((0, 0.5))), bounded(1.5))
    assert "certifies 1.5 px, but a witness is 1 px away" in desk.video().reason
    assert known(desk)["msr_lower"] is None


def test_a_witness_within_a_certified_radius_is_a_contradiction(desk: Desk) -> None:
    desk.submit(continuous=True)
    desk.answer(prepared(), attacked(), bounded(3.0))
    desk.work_off(adversarial=lambda point: point == STEP)
    assert "2 px away contradicts the certified radius of 3 px" in desk.video().reason


def test_a_constant_that_a_witness_refutes_bounds_nothing(desk: Desk) -> None:
    desk.submit(lipschitz="0.25")
    desk.answer(prepared(margin=1.0), attacked(real=real_witness((0, 1.0))))
    lower, guarantee, remark = routes(desk)["margin / constant"]
    assert (lower, guarantee) == (None, "lipschitz:assumed")
    assert remark.endswith("refuted by a witness 2.000 px away")
    assert known(desk)["msr_lower"] is None
    desk.work_off()
    assert known(desk)["verdict"] == "robust"  # The grid bound never rested on it.


def test_a_search_that_a_refuted_constant_guides_claims_nothing(desk: Desk) -> None:
    desk.submit(lipschitz="0.25", heuristic=True)
    desk.answer(prepared(margin=1.0), attacked(real=real_witness((0, 1.0))))
    assert desk.video().verdict == "failed"
    assert "the Lipschitz constant 0.25 is refuted" in desk.video().reason


def test_a_worker_that_was_shut_down_hands_the_certificate_on_and_the_best_radius_counts(desk: Desk) -> None:
    desk.submit(continuous=True)
    desk.answer(prepared(), attacked(), bounded(0.5, stop=StopReason.SHUTDOWN), bounded(0.25, stop=StopReason.TIME))
    assert known(desk)["msr_lower"] == 0.5
    assert desk.claim().kind == TaskKind.EXPLORE


def test_a_clip_cancelled_before_its_bound_is_bounded_when_it_is_resumed(desk: Desk) -> None:
    job = desk.submit(continuous=True)
    desk.answer(prepared(), attacked())
    cancel(desk.engine, job)
    assert desk.submit(continuous=True) == job
    desk.answer(bounded(0.5))
    assert known(desk)["msr_lower"] == 0.5
    assert desk.claim().kind == TaskKind.EXPLORE


# The clip has two flows of 8x8 frames as its job has them: 256 entries, so half a diagonal is 128 px in L1.
def test_the_error_bound_says_that_it_is_vacuous(desk: Desk) -> None:
    desk.submit()
    desk.to_explore()
    remark = "vacuous: half a diagonal of the grid is 128.00 px, FMSR is only known to be at least 0.00 px"
    assert routes(desk)["error bound"] == (None, None, f"premise not established; {remark}")
    assert known(desk)["half_diagonal"] == 128


def test_the_premise_fails_where_a_safe_point_has_a_witness_near(desk: Desk) -> None:
    desk.submit(radius="300")
    desk.answer(prepared(), attacked(real=real_witness((0, 1.25)), safe_point=STEP))
    assert known(desk)["premise"] == "fails"
    assert routes(desk)["error bound"][2].startswith("premise fails at [[0, 1]]")


def test_a_witness_far_from_any_known_safe_point_says_nothing_of_the_premise(desk: Desk) -> None:
    desk.submit(radius="300")
    desk.answer(prepared(), attacked(real=real_witness((0, 200.5))))
    assert desk.rows("SELECT safe_point IS NULL FROM real_witnesses") == [(True,)]
    assert known(desk)["premise"] == "not established"


def test_a_point_that_is_not_the_nearest_is_refused(desk: Desk) -> None:
    desk.submit()
    desk.answer(prepared(), attacked(real=real_witness((0, 1.75)), safe_point=STEP))
    assert "not nearest to its real witness" in desk.video().reason


def explore_with_margin(desk: Desk, margin: float) -> None:
    """Explore honestly; the unchanged clip is the safe point of the least margin."""
    while desk.ready():
        for task in desk.ready():
            claim = desk.claim(task)
            result = honest(claim).model_copy(update={"closest": SafePoint(point=(), margin=margin)})
            desk.ann.append(claim, result, 0.5)
        desk.round()


# Linf: half a diagonal is half a pixel, whatever the number of coordinates.
def test_the_premise_holds_when_every_margin_is_high_enough_for_the_constant(desk: Desk) -> None:
    desk.submit(norm="Linf", radius="2", lipschitz="1.5")
    desk.answer(prepared(margin=1.0), attacked())
    explore_with_margin(desk, 0.75)
    assert (known(desk)["premise"], known(desk)["verdict"]) == ("holds", "robust")
    assert routes(desk)["error bound"] == (1.5, "lipschitz:assumed", "premise holds")
    assert (known(desk)["msr_lower"], known(desk)["msr_lower_guarantee"]) == (1.5, "lipschitz:assumed")


def test_the_premise_is_not_established_when_a_margin_is_too_low(desk: Desk) -> None:
    desk.submit(norm="Linf", radius="2", lipschitz="1.5")
    desk.answer(prepared(margin=1.0), attacked())
    explore_with_margin(desk, 0.74)
    assert known(desk)["premise"] == "not established"
    assert known(desk)["msr_lower"] == pytest.approx(1 / 1.5)


def best_first(reached: int, explored: int, stop: StopReason = StopReason.POINTS) -> Explored:
    """What a guided exploration reports."""
    return Explored(stop=stop, position=None, explored=explored, reached=reached, undecided=None, witness=None)


def test_a_guided_search_raises_the_bound_before_anything_is_exhausted(desk: Desk) -> None:
    desk.submit(lipschitz="0.5", heuristic=True)
    desk.answer(prepared(margin=1.0), attacked())
    for reached in (2, 3, 4):
        for task in desk.ready():
            claim = desk.claim(task)
            assert (claim.lipschitz, claim.floor, claim.threshold) == (0.5, 0, 9)
            desk.ann.append(claim, best_first(reached, 1), 0.5)
        desk.round()
    trace = desk.rows("SELECT lower_cost, fmsr_lower_guarantee FROM bound_trace ORDER BY at, lower_cost")
    assert trace == [(cost, "lipschitz:assumed") for cost in (0, 2, 3, 4)]
    assert desk.rows("SELECT 1 FROM subtrees WHERE NOT split AND lower < threshold")


def test_a_guided_search_that_is_exhausted_decides_the_clip(desk: Desk) -> None:
    desk.submit(lipschitz="0.5", heuristic=True)
    desk.answer(prepared(margin=1.0), attacked(witness_at(((0, 3),))))
    while desk.ready():
        for task in desk.ready():
            claim = desk.claim(task)
            desk.ann.append(claim, best_first(6, 1, StopReason.EXHAUSTED), 0.5)
        desk.round()
    assert (known(desk)["verdict"], known(desk)["fmsr_lower_guarantee"]) == ("solved", "lipschitz:assumed")
    assert desk.bounds() == (6, 6)


def test_a_guided_search_ends_with_its_budget_and_goes_on_with_a_larger_one(desk: Desk) -> None:
    job = desk.submit(lipschitz="0.5", heuristic=True)
    with desk.engine.begin() as connection:
        connection.execute(sa.text("UPDATE jobs SET budget_points = 3"))
    desk.answer(prepared(margin=1.0), attacked())
    while desk.ready():
        for task in desk.ready():
            desk.ann.append(desk.claim(task), best_first(2, 2), 0.5)
        desk.round()
    assert desk.video().verdict == "open"
    assert "points are explored; the budget is 3" in desk.video().reason
    assert desk.bounds() == (2, None)
    assert desk.submit(lipschitz="0.5", heuristic=True) == job
    desk.round()
    assert desk.ready()


def test_a_guided_result_with_more_points_than_there_are_is_refused(desk: Desk) -> None:
    desk.submit(lipschitz="0.5", heuristic=True)
    desk.answer(prepared(margin=1.0), attacked())
    claim = desk.claim()
    desk.ann.append(claim, best_first(2, 10_000_000), 0.5)
    desk.round()
    assert "10000000 points explored; its subtree has" in desk.video().reason
