"""A real witness bounds MSR only: its distance is recomputed, and one that was not replayed is kept with its reason."""

from __future__ import annotations

import pytest
import sqlalchemy as sa

from common.celery_app import make_app
from common.vocab import Verdict
from tests.rows import Desk, real_witness, witness_at

BOUNDS = "SELECT verdict, fmsr_lower, fmsr_upper, msr_upper FROM video_bounds"


@pytest.fixture
def desk(engine: sa.Engine, database_url: str, broker_url: str) -> Desk:
    """A scheduler and two workers on a fresh database."""
    return Desk(engine, database_url, make_app(broker_url, task_seconds=1.0))


def test_a_shorter_real_witness_lowers_msr_and_leaves_the_grid_alone(desk: Desk) -> None:
    desk.submit()
    # Coordinates 0 and 2 belong to regions of two and three pixels.
    desk.to_explore(witness_at(((0, 2), (2, 1))), real_witness((0, 0.5), (2, -0.75)))
    ((_, _, fmsr_upper, msr_upper),) = desk.rows(BOUNDS)
    assert fmsr_upper == 7.0
    assert msr_upper == pytest.approx(2 * 0.5 + 3 * 0.75, rel=1e-11)
    assert msr_upper >= 3.25
    assert desk.rows("SELECT kind, best, cost, reason FROM clip_witnesses ORDER BY kind") == [
        ("grid", True, 7, None),
        ("real", True, None, None),
    ]
    assert desk.bounds() == (0, 7)


def test_a_longer_real_witness_does_not_hide_the_grid_point(desk: Desk) -> None:
    desk.submit()
    desk.to_explore(witness_at(((0, 1), (2, 1))), real_witness((0, 3.0)))
    assert desk.rows(BOUNDS)[0][2:] == (5.0, 5.0)


def test_a_robust_grid_says_nothing_of_what_lies_between_its_points(desk: Desk) -> None:
    desk.submit()
    desk.to_explore(real=real_witness((3, 0.5)))
    desk.work_off()
    assert desk.rows(BOUNDS) == [(Verdict.ROBUST, 8.0, float("inf"), pytest.approx(1.5))]


def test_a_real_witness_that_was_not_replayed_is_kept_with_its_reason(desk: Desk) -> None:
    desk.submit()
    desk.to_explore(real=real_witness((3, 0.5), replayed=False))
    assert desk.rows(BOUNDS)[0][3] is None
    reason = "its margin on replay, 0.25, is not below zero beyond rounding"
    assert desk.rows("SELECT replayed, best, reason FROM clip_witnesses") == [(False, False, reason)]


@pytest.mark.parametrize(
    ("witness", "problem"),
    [
        (real_witness((0, 0.5), distance=0.75), "0.75 px away; it is 1"),
        (real_witness((0, 0.5)).model_copy(update={"moves": ((9, 0.5),)}), "coordinates that its clip's game does not"),
        (real_witness((0, 0.5)).model_copy(update={"moves": ((1, 0.5), (0, 0.5))}), "coordinates that its clip's game"),
        (real_witness(), "a real witness 0.0 px away"),
    ],
)
def test_a_real_witness_is_not_believed(desk: Desk, witness, problem: str) -> None:
    desk.submit()
    desk.to_explore(real=witness)
    assert desk.video().verdict == Verdict.FAILED
    assert problem in (desk.video().reason or "")
    assert desk.rows("SELECT count(*) FROM real_witnesses") == [(0,)]
