"""Decides how integer costs and distances in pixels turn into each other, without rounding a bound the wrong way.

A cost is the distance counted in units of τ (L1, Linf) or of τ² (L2, before the square root), so that costs of
grid points are integers and compare exactly: ``L1 = τ·Σ n_j|a_j|``, ``L2 = τ·√(Σ n_j a_j²)``, ``Linf = τ·max|a_j|``.
"""

from __future__ import annotations

import math
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


def distance(norm: Norm, tau: Decimal, cost: int) -> float:
    """Distance in pixels of a cost, as the nearest double."""
    if norm is Norm.L2:
        return float(tau) * math.sqrt(cost)
    return float(Fraction(tau) * cost)
