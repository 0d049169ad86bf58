"""Decides how affine forms over all coordinates of a clip are added, multiplied and relaxed without losing signs.

A form encloses a vector by ``center + slopes.x + tied.f + symbols.e ± fresh``: ``x`` the scaled coordinates of all
flows, within one ball; ``f`` remainders of frames, none greater than its flow's share of the radius; ``e`` unknowns in
[-1, 1] that keep their sign from step to step; ``fresh`` a remainder of each element that no other shares yet.
Zonotopes with a ball for their first part: affine arithmetic (L. H. de Figueiredo and J. Stolfi, Numerical Algorithms
2004).
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from worker.certify.ball import ROUNDING, Ball
from worker.certify.relax import Relaxation


class Form(NamedTuple):
    """An affine form of a vector of ``n`` numbers, over ``T`` flows with up to ``K`` coordinates each."""

    center: Tensor  #: ``[n]``
    slopes: Tensor  #: ``[n, T, K]``
    tied: Tensor  #: ``[n, T, F]``
    symbols: Tensor  #: ``[n, E]``; a form with fewer symbols than another has zeros for the rest
    fresh: Tensor  #: ``[n]``, at least 0

    def radius(self, ball: Ball) -> Tensor:
        """Greatest distance from the center, ``[n]``.

        By flow first: a flow with share ``s`` of the radius moves the vector by at most ``s`` times the sum of what
        its coordinates and its frame's remainders can do; then over the flows, whose shares are in the unit ball.
        """
        by_flow = ball.reach(self.slopes, dim=2) + self.tied.abs().sum(dim=2)
        joint = Ball(ball.norm, 1.0).reach(by_flow, dim=1)
        return joint + self.symbols.abs().sum(dim=1) * (1 + ROUNDING) + self.fresh

    def bounds(self, ball: Ball) -> tuple[Tensor, Tensor]:
        """Least and greatest values, ``[n]`` each."""
        radius = self.radius(ball)
        return self.center - radius, self.center + radius

    def rows(self, start: int, end: int) -> Form:
        """Take some of the elements."""
        return Form(*(part[start:end] for part in self))


def constant(values: Tensor, flows: int, coordinates: int, features: int) -> Form:
    """A form of numbers ``[n]`` that are known; ``flows``, ``coordinates`` and ``features`` are ``T, K, F``."""
    count = len(values)
    zeros = values.new_zeros
    return Form(
        values, zeros((count, flows, coordinates)), zeros((count, flows, features)), zeros((count, 0)), zeros(count)
    )


def linear(form: Form, weight: Tensor, bias: Tensor | None = None) -> Form:
    """``weight @ form + bias``; the form must have no fresh remainder, for it would lose its signs (see promote)."""
    center, size = weight @ form.center, weight.abs() @ form.center.abs()
    if bias is not None:
        center, size = center + bias, size + bias.abs()
    slopes, tied = (torch.einsum("mn,ntk->mtk", weight, part) for part in (form.slopes, form.tied))
    return Form(center, slopes, tied, weight @ form.symbols, ROUNDING * (1 + size))


def promote(form: Form, symbols: int) -> Form:
    """Make the fresh remainders symbols of their own, with numbers from ``symbols`` on."""
    padding = form.symbols.new_zeros((len(form.center), symbols - form.symbols.shape[1]))
    kept = torch.cat([form.symbols, padding, torch.diag(form.fresh)], dim=1)
    return form._replace(symbols=kept, fresh=torch.zeros_like(form.fresh))


def add(first: Form, second: Form, sign: float = 1.0) -> Form:
    """``first + sign * second`` with a sign of ±1; their fresh remainders are taken to be unrelated."""
    return Form(
        first.center + sign * second.center,
        first.slopes + sign * second.slopes,
        first.tied + sign * second.tied,
        _sum(first.symbols, sign * second.symbols),
        first.fresh + second.fresh + ROUNDING * (first.center.abs() + second.center.abs()),
    )


def relaxed(form: Form, relaxation: Relaxation) -> Form:
    """Apply a function elementwise through its relaxation on the form's bounds."""
    slope, offset, error = relaxation
    result = _scaled(form, slope)
    return result._replace(center=result.center + offset, fresh=result.fresh + error)


def multiply(first: Form, second: Form, ball: Ball) -> Form:
    """Elementwise product of two forms whose fresh remainders are unrelated.

    The deviations' product is ``((a + b)^2 - (a - b)^2) / 4`` with both scaled to the same size, hence between minus
    the squared radius of the difference and the squared radius of the sum, over 4. The product of the radii, the usual
    remainder, is never better, and twice as wide where both deviate alike.
    """
    radius, other = first.radius(ball), second.radius(ball)
    tiny = 1e-150
    ratio = ((other + tiny) / (radius + tiny)).sqrt()
    a, b = _scaled(first, ratio), _scaled(second, 1 / ratio)
    together, apart = (add(a, b, sign).radius(ball) ** 2 / 4 for sign in (1.0, -1.0))
    result = add(_scaled(first, second.center), _scaled(second, first.center))
    size = (first.center.abs() + radius) * (second.center.abs() + other)
    return result._replace(
        center=first.center * second.center + (together - apart) / 2,
        fresh=result.fresh + (together + apart) / 2 + ROUNDING * size,
    )


def _scaled(form: Form, factor: Tensor) -> Form:
    """Multiply each element by a number, ``[n]``."""
    column, block = factor[:, None], factor[:, None, None]
    return Form(
        factor * form.center,
        block * form.slopes,
        block * form.tied,
        column * form.symbols,
        factor.abs() * form.fresh,
    )


def _sum(first: Tensor, second: Tensor) -> Tensor:
    """Sum of symbols, of which one may have more than the other."""
    if first.shape[1] < second.shape[1]:
        first, second = second, first
    total = first.clone()
    total[:, : second.shape[1]] += second
    return total
