"""Decides how far an affine function of the coordinates can move within a ball of flow changes: by the dual norm.

A coordinate's pixels are scaled so that the distance is the plain norm of the scaled coordinates, ``|x|_p <= radius``
over all flows together. The greatest value of ``a.x`` there is ``radius * |a|_q`` with ``1/p + 1/q = 1`` (Hoelder).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import assert_never

import torch
from torch import Tensor

from common.vocab import Norm

#: Allowance for the rounding of float64, as a share of the magnitudes that an operation adds up. The longest sums here
#: have some ten thousand terms, each rounded to 1e-16 of its size.
ROUNDING = 1e-12


@dataclass(frozen=True)
class Ball:
    """All scaled changes ``x`` with ``|x| <= radius`` in the norm, in pixels of that norm."""

    norm: Norm
    radius: float

    def reach(self, slopes: Tensor, dim: int) -> Tensor:
        """Greatest absolute value of linear functions in the ball; ``slopes`` has the coordinates along ``dim``.

        Rounded up. NaN where a slope is NaN.
        """
        if slopes.shape[dim] == 0:
            return slopes.sum(dim)
        match self.norm:
            case Norm.L1:
                dual = torch.linalg.vector_norm(slopes, float("inf"), dim)
            case Norm.L2:
                # Ten times as fast as vector_norm. Squares below the range of float64 are lost: slopes of 1e-154.
                dual = slopes.square().sum(dim).sqrt()
            case Norm.LINF:
                dual = torch.linalg.vector_norm(slopes, 1, dim)
            case _:
                assert_never(self.norm)
        result: Tensor = dual * (self.radius * (1.0 + ROUNDING))
        return result


def pixels_per_unit(sizes: Tensor, norm: Norm) -> Tensor:
    """Pixels that one unit of a scaled coordinate moves its region by; ``sizes`` are the regions' pixels, float64."""
    match norm:
        case Norm.L1:
            return 1.0 / sizes
        case Norm.L2:
            return sizes.rsqrt()
        case Norm.LINF:
            return torch.ones_like(sizes)
        case _:
            assert_never(norm)
