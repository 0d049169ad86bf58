"""Estimates the Lipschitz constant of a clip's margin in flow distance, by extreme-value statistics of its slopes.

CLEVER (T.-W. Weng et al., Evaluating the Robustness of Neural Networks, ICLR 2018): gradients are sampled in batches
within the ball, the greatest slope of each batch follows a reverse Weibull distribution, and its end point estimates
the greatest slope of all. A slope is the dual norm of the margin's gradient in the scaled coordinates. It is an
estimate: nothing is proved by it, however many samples there are.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple, assert_never

import numpy as np
import numpy.typing as npt

from common.vocab import Norm
from worker.real_margins import RealMargins, coordinate_scale

#: Batches at most, whose greatest slopes are fitted, and at least, however short the time.
BATCHES, FEWEST_BATCHES = 60, 8
#: Gradients of a batch.
BATCH = 16
#: Confidence with which the fitted end point is below the constant, and resamples of the batches that it is taken from.
CONFIDENCE, RESAMPLES = 0.95, 40
#: Shapes of the reverse Weibull distribution that are tried.
SHAPES = (1.0, 2.0, 3.0, 5.0, 7.0, 10.0)
#: Stands for a slope of zero, which nothing divides by.
_LEAST = 1e-9

Vector = npt.NDArray[np.float64]


@dataclass(frozen=True)
class LipschitzEstimate:
    """What was sampled and fitted; slopes are logits per pixel of the norm."""

    constant: float  #: upper end of the end point's confidence interval; no less than any slope met
    location: float  #: fitted end point
    greatest: float  #: greatest slope met
    fit: float  #: p-value of the Kolmogorov-Smirnov test of the fit
    samples: int  #: gradients


def estimate_lipschitz(
    margins: RealMargins,
    norm: Norm,
    radius: float,
    *,
    seed: int,
    adversarial: float | None = None,
    stop: Callable[[], bool] = lambda: False,
) -> LipschitzEstimate:
    """Estimate the greatest slope of the margin within ``radius`` pixels of the norm around the unchanged clip.

    ``adversarial`` is the distance of an adversarial change, if one is known: the way there is as steep, at least, as
    the margin is high. ``stop`` is asked after each batch once there are enough. Raises NumericalError for numbers
    that are not finite.
    """
    rng = np.random.default_rng(seed)
    # Pixels that a unit of distance moves each coordinate by.
    unit = 1.0 / coordinate_scale(margins.plain.clip.coordinate_sizes, norm)
    peaks: list[float] = []
    while len(peaks) < BATCHES and not (len(peaks) >= FEWEST_BATCHES and stop()):
        moves = sample_ball(rng, norm, BATCH, len(unit)) * radius * unit
        _, gradients = margins.gradients(moves, np.full(BATCH, -1))
        peaks.append(float(_dual(gradients * unit, norm).max()))
    known = max(peaks)
    if adversarial is not None:
        unchanged = float(margins.margins(np.zeros((1, len(unit))))[0])
        known = max(known, unchanged / adversarial * (1 + _LEAST))
    fit = _best_fit(np.array(peaks))
    resampled = [_fit(rng.choice(peaks, len(peaks)), fit.shape).end for _ in range(RESAMPLES)]
    constant = max(known, fit.end, float(np.quantile(resampled, CONFIDENCE)), _LEAST)
    return LipschitzEstimate(constant, fit.end, known, fit.match, BATCH * len(peaks))


def sample_ball(rng: np.random.Generator, norm: Norm, count: int, dimension: int) -> npt.NDArray[np.float64]:
    """Draw ``count`` points ``[count, dimension]`` uniformly from the norm's unit ball.

    L1: differences of sorted uniforms with random signs; L2: normal directions (both classical).
    """
    match norm:
        case Norm.LINF:
            return rng.uniform(-1, 1, (count, dimension))
        case Norm.L2:
            rows = rng.standard_normal((count, dimension))
            rows /= np.linalg.norm(rows, axis=1, keepdims=True)
            return np.asarray(rows * rng.uniform(0, 1, (count, 1)) ** (1 / dimension))
        case Norm.L1:
            spacings = rng.exponential(1.0, (count, dimension + 1))
            rows = spacings[:, :-1] / spacings.sum(axis=1, keepdims=True)
            return np.asarray(rows * rng.choice([-1.0, 1.0], rows.shape))
        case _:
            assert_never(norm)


def _dual(rows: npt.NDArray[np.float64], norm: Norm) -> Vector:
    """Dual norms of rows ``[B, J]``."""
    order: dict[Norm, Any] = {Norm.L1: np.inf, Norm.L2: 2, Norm.LINF: 1}
    return np.asarray(np.linalg.norm(rows, order[norm], axis=1))


class _Fit(NamedTuple):
    """A reverse Weibull distribution fitted to the batches' greatest slopes."""

    shape: float
    end: float
    likelihood: float  #: its logarithm
    match: float  #: p-value of the Kolmogorov-Smirnov test


def _best_fit(peaks: Vector) -> _Fit:
    """Fit the end point for each shape allowed, and take the likeliest.

    The shape is bounded, for in many dimensions it grows until the distribution has no end any more.
    """
    return max((_fit(peaks, shape) for shape in SHAPES), key=lambda fit: fit.likelihood)


def _fit(peaks: Vector, shape: float) -> _Fit:
    greatest, spread = float(peaks.max()), float(peaks.max() - peaks.min())
    if spread <= _LEAST * greatest:
        return _Fit(shape, greatest, 0.0, 1.0)
    # Loaded late: most workers never estimate, and it takes a sixth of a worker's start.
    from scipy import stats

    # Scaled, so that the search for the parameters starts at the same place for slopes of any size.
    scaled = (peaks - greatest) / spread
    with warnings.catch_warnings():
        # The search tries parameters that overflow, and says so; its result is finite or not taken.
        warnings.simplefilter("ignore", RuntimeWarning)
        _, location, scale = stats.weibull_max.fit(scaled, fc=shape, loc=0.1, scale=1.0)
        fitted = stats.weibull_max(shape, location, scale)
        likelihood = float(fitted.logpdf(scaled).sum())
    if not np.isfinite([location, scale, likelihood]).all() or scale <= 0:
        return _Fit(shape, greatest, -np.inf, 0.0)
    match = float(stats.kstest(scaled, fitted.cdf).pvalue)
    return _Fit(shape, greatest + spread * max(float(location), 0.0), likelihood, match)
