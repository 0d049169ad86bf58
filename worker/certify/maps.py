"""Decides what is kept of the values of a layer, map by map: affine forms, and the way back to the layer below.

A form encloses an array by ``center + slopes.x ± error.|x| / radius`` with the scaled coordinates ``x`` of the
frame's own flow. The center is the unchanged frame's value and remainders vanish there, so that flows that share the
radius cannot all have their greatest remainders at once. What does not vanish, and is small, is the remainder of one
more coordinate, the last, which has all of the radius and yet takes nothing from the others.
Going forward, remainders are added up as intervals, which serves only to bound what the next nonlinear layer meets.
The encoder takes rows of linear functions all the way back, where their signs cancel as they should.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from torch import Tensor

from common.vocab import Norm
from worker.certify.ball import Ball
from worker.certify.windows import Windows


class Forms(NamedTuple):
    """Affine forms of ``N`` arrays, each in the ``K`` scaled coordinates of its own flow."""

    center: Tensor  #: ``[N, *size]``
    slopes: Tensor  #: ``[N, K + 1, *size]``, 0 for the last
    error: Tensor  #: ``[N, K + 1, *size]``, what each coordinate's remainders come to when it has all of the radius

    def most(self, ball: Ball) -> Tensor:
        """How far each coordinate moves the arrays when it has all of the radius, ``[N, K + 1, *size]``."""
        return ball.radius * self.slopes.abs() + self.error

    def span(self, ball: Ball) -> Tensor:
        """Greatest distance from the center in the ball, ``[N, *size]``."""
        return joint(self.most(ball), ball.norm, dim=1)


def joint(most: Tensor, norm: Norm, dim: int) -> Tensor:
    """What coordinates come to in the ball, given what each does with all of the radius: ``K + 1`` along ``dim``."""
    count = most.shape[dim] - 1
    return Ball(norm, 1.0).reach(most.narrow(dim, 0, count), dim) + most.select(dim, count)


class Pullback(NamedTuple):
    """The way back through a layer."""

    transpose: Callable[[Tensor], Tensor]  #: rows ``[N, R, *output]`` to rows ``[N, R, *input]``, in their dtype
    magnitude: Callable[[Tensor], Tensor]  #: ``[N, *input]`` to ``[N, *output]``, with all factors' signs dropped
    windows: Windows  #: where an output's inputs are
    terms: int  #: most products that an entry of a row's transpose is the sum of
    fresh: Tensor | None = None  #: remainder added by the layer to its outputs, by coordinate, ``[N, K + 1, *output]``


Step = Callable[[Forms, Ball], tuple[Forms, Pullback]]
