"""A constant is estimated from the steepest slopes in the ball, and is never below one that was met."""

from dataclasses import dataclass
from types import SimpleNamespace

import numpy as np
import pytest

from common.vocab import Norm
from worker.lipschitz import BATCH, FEWEST_BATCHES, estimate_lipschitz, sample_ball

SIZES = (4, 9, 1, 16, 2, 25)


@dataclass
class Known:
    """Margins whose slopes a test knows: ``height + slope.moves - bend |moves|^2 / 2``, moves in pixels."""

    slope: np.ndarray
    bend: float = 0.0
    height: float = 5.0

    plain = SimpleNamespace(clip=SimpleNamespace(coordinate_sizes=SIZES))

    def margins(self, moves):
        return self.height + moves @ self.slope - self.bend * (moves**2).sum(1) / 2

    def gradients(self, moves, classes):
        assert (classes == -1).all()
        return None, self.slope - self.bend * moves


def steepest(slope, norm):
    """Dual norm of the slopes per unit of flow distance."""
    sizes = np.array(SIZES, float)
    per_unit = {"L1": slope / sizes, "L2": slope / np.sqrt(sizes), "Linf": slope}[norm]
    return {"L1": np.abs(per_unit).max(), "L2": np.sqrt((per_unit**2).sum()), "Linf": np.abs(per_unit).sum()}[norm]


@pytest.mark.parametrize("norm", list(Norm))
def test_the_constant_of_a_plane_is_its_slope(norm):
    slope = np.array([1.0, -2.0, 0.5, 3.0, -0.25, 1.5])
    found = estimate_lipschitz(Known(slope), norm, 10.0, seed=1)
    assert found.constant == pytest.approx(steepest(slope, norm))
    assert found.greatest <= found.constant


@pytest.mark.parametrize("norm", list(Norm))
def test_the_constant_of_a_bowl_lies_between_what_was_sampled_and_a_little_beyond_the_ball(norm):
    known = Known(np.zeros(len(SIZES)), bend=1.0)
    found = estimate_lipschitz(known, norm, 2.0, seed=1)
    # The slope at the edge of the ball, where a single coordinate has all of the radius, or all of them in Linf.
    sizes = np.array(SIZES, float)
    edge = 2.0 * {"L1": (1 / sizes**2).max(), "L2": (1 / sizes).max(), "Linf": float(len(SIZES))}[norm]
    assert found.greatest <= edge * (1 + 1e-9)
    assert found.greatest <= found.constant <= 2 * edge
    assert found.location >= found.greatest
    assert 0 <= found.fit <= 1


def test_the_same_seed_finds_the_same_and_another_something_else():
    known = Known(np.ones(len(SIZES)), bend=0.3)
    first, again, other = (estimate_lipschitz(known, Norm.L2, 3.0, seed=seed) for seed in (4, 4, 5))
    assert first == again != other


def test_the_way_to_a_witness_is_a_slope_too():
    found = estimate_lipschitz(Known(np.full(len(SIZES), 1e-3)), Norm.L2, 3.0, seed=1, adversarial=0.5)
    assert 10.0 <= found.constant <= 10.0 * (1 + 1e-6)


def test_little_time_leaves_the_fewest_batches():
    found = estimate_lipschitz(Known(np.ones(len(SIZES)), bend=0.3), Norm.L2, 3.0, seed=1, stop=lambda: True)
    assert found.samples == FEWEST_BATCHES * BATCH


def test_a_margin_without_any_slope_has_a_constant_all_the_same():
    assert estimate_lipschitz(Known(np.zeros(len(SIZES))), Norm.L2, 3.0, seed=1).constant > 0


@pytest.mark.parametrize("norm", list(Norm))
def test_samples_fill_the_ball_evenly(norm):
    rows = sample_ball(np.random.default_rng(2), norm, 20_000, 3)
    lengths = np.linalg.norm(rows, {"L1": 1, "L2": 2, "Linf": np.inf}[norm], axis=1)
    assert lengths.max() <= 1
    # The share of a ball within half of its radius, in three dimensions.
    assert np.mean(lengths < 0.5) == pytest.approx(1 / 8, abs=0.01)
    assert np.abs(rows.mean(axis=0)).max() < 0.02
    assert np.mean(rows > 0) == pytest.approx(0.5, abs=0.01)
