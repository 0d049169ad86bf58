"""Decides the linear function and the remainder that replace a nonlinear one between two bounds.

Smooth functions: for a slope given, the range of ``f(z) - slope * z`` over the interval is exact, for it is extreme at
the ends or where ``f'(z) = slope``. So the remainder is never wider than that of chords or of a second-derivative bound
with the same slope; of the chord's slope and the slope in the middle, each element takes the better. Functions with
kinks, in an encoder: a cone around the center, whose remainder vanishes there.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from worker.certify.ball import ROUNDING

#: Stands for a span of 0, which nothing divides by.
_TINY = 1e-300


class Relaxation(NamedTuple):
    """``slope * z + offset ± error`` encloses the function between the bounds; tensors of the bounds' shape."""

    slope: Tensor
    offset: Tensor
    error: Tensor


class Cone(NamedTuple):
    """``f(z) - f(c)`` differs from ``slope * (z - c)`` by no more than ``share * |z - c|``, for ``|z - c| <= span``."""

    slope: Tensor
    share: Tensor


def relu(center: Tensor, span: Tensor) -> Cone:
    """Enclose ``max(z, 0)`` for ``z`` within ``span`` of the center; exact where the sign is certain.

    Chords from the center are steepest to the upper and flattest to the lower end.
    """
    ratio = center / span.clamp(min=_TINY)
    return _between(ratio.clamp(0, 1), (1 + ratio).clamp(0, 1))


def clip(center: Tensor, span: Tensor) -> Cone:
    """Enclose ``min(max(z, 0), 1)``, the range of a pixel, around a center in [0, 1]; exact if nothing is cut off."""
    least = torch.minimum(center, 1 - center) / span.clamp(min=_TINY)
    return _between(least.clamp(0, 1), torch.ones_like(least))


def lead(center: Tensor, span: Tensor) -> Tensor:
    """The least share of ``|z - c|`` that ``max(z, 0)`` stays below, for ``z`` within ``span`` of a center below 0."""
    return (1 + center / span.clamp(min=_TINY)).clamp(0, 1)


def _between(least: Tensor, most: Tensor) -> Cone:
    """Enclose a function by the slopes of its chords from the center."""
    return Cone((least + most) / 2, (most - least) / 2)


def sigmoid(low: Tensor, high: Tensor) -> Relaxation:
    """Enclose the logistic function."""
    middle = torch.sigmoid((low + high) / 2)
    tangent = middle * (1 - middle)
    by_tangent = _enclose(torch.sigmoid, low, high, tangent, _sigmoid_stationary(tangent))
    chord = _chord(torch.sigmoid, low, high, tangent)
    by_chord = _enclose(torch.sigmoid, low, high, chord, _sigmoid_stationary(chord))
    return _better(by_tangent, by_chord)


def tanh(low: Tensor, high: Tensor) -> Relaxation:
    """Enclose the hyperbolic tangent, as ``2 sigmoid(2z) - 1``."""
    slope, offset, error = sigmoid(2 * low, 2 * high)
    return Relaxation(4 * slope, 2 * offset - 1, 2 * error)


def _chord(function: Callable[[Tensor], Tensor], low: Tensor, high: Tensor, otherwise: Tensor) -> Tensor:
    """Slope between the ends; ``otherwise`` where they are too close for the difference to say anything."""
    width = high - low
    apart = width > ROUNDING * (1 + low.abs() + high.abs())
    return torch.where(apart, (function(high) - function(low)) / torch.where(apart, width, 1.0), otherwise)


def _sigmoid_stationary(slope: Tensor) -> list[Tensor]:
    """Where the logistic function has this slope: ``s (1 - s) = slope``, once on either side of 0."""
    root = (1 - 4 * slope).clamp(min=0).sqrt()
    # The smaller solution, without the cancellation of (1 - root) / 2.
    smaller = (2 * slope / (1 + root)).clamp(min=1e-300)
    where = torch.log(smaller) - torch.log1p(-smaller)
    return [where, -where]


def _enclose(
    function: Callable[[Tensor], Tensor], low: Tensor, high: Tensor, slope: Tensor, inner: Sequence[Tensor]
) -> Relaxation:
    """Enclose by the slope given; ``inner`` holds every point at which the difference may be extreme within."""
    least = most = function(low) - slope * low
    for point in (high, *inner):
        # A point beyond an end becomes that end, which is looked at anyway.
        at = torch.minimum(torch.maximum(point, low), high)
        difference = function(at) - slope * at
        least, most = torch.minimum(least, difference), torch.maximum(most, difference)
    rounding = ROUNDING * (1 + low.abs() + high.abs())
    return Relaxation(slope, (most + least) / 2, (most - least) / 2 + rounding)


def _better(first: Relaxation, second: Relaxation) -> Relaxation:
    """Take, element by element, the one with the smaller remainder."""
    take = first.error <= second.error
    return Relaxation(*(torch.where(take, a, b) for a, b in zip(first, second, strict=True)))
