"""Decides how integer costs and distances in pixels turn into each other, without rounding a bound the wrong way.

A cost is the distance counted in units of τ (L1, Linf) or of τ² (L2, before the square root), so that costs of
grid points are integers and compare exactly: ``L1 = τ·Σ n_j|a_j|``, ``L2 = τ·√(Σ n_j a_j²)``, ``Linf = τ·max|a_j|``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from decimal import Decimal
from fractions import Fraction
from typing import assert_never

from common.vocab import Norm


def coordinate_cost(norm: Norm, size: int, steps: int) -> int:
    """Cost of moving one coordinate of ``size`` flow entries by ``steps`` (≥ 0) atomic manipulations."""
    match norm:
        case Norm.L1:
            return size * steps
        case Norm.L2:
            return size * steps * steps
        case Norm.LINF:
            return steps
        case _:
            assert_never(norm)


def cost_of_radius(norm: Norm, tau: Decimal, radius: Decimal) -> int:
    """Greatest cost whose distance is at most ``radius`` pixels, computed in exact rational arithmetic."""
    ratio = Fraction(radius) / Fraction(tau)
    return math.floor(ratio * ratio if norm is Norm.L2 else ratio)


def length(norm: Norm, sizes: Sequence[int], moves: Sequence[tuple[int, float]]) -> float:
    """Distance in pixels of a real change of (coordinate, pixels), rounded up: an upper bound must stay one."""
    match norm:
        case Norm.L1:
            pixels = math.fsum(sizes[j] * abs(move) for j, move in moves)
        case Norm.L2:
            pixels = math.sqrt(math.fsum(sizes[j] * move * move for j, move in moves))
        case Norm.LINF:
            pixels = max((abs(move) for _, move in moves), default=0.0)
        case _:
            assert_never(norm)
    # Far more than what the products and the root are rounded by.
    return pixels * (1.0 + 1e-12)


def distance(norm: Norm, tau: Decimal, cost: int) -> float:
    """Distance in pixels of a cost, as the nearest double."""
    if norm is Norm.L2:
        return float(tau) * math.sqrt(cost)
    return float(Fraction(tau) * cost)
