"""Decides which affine functions of a region's two displacements enclose every pixel of a manipulated frame.

The warp is bilinear in the displacement ``(u, v)`` within each cell of the pixel grid, border included (there it is
constant). It is taken apart as ``W(u, 0) + W(0, v) - W(0, 0)`` and a mixed part. The first two are piecewise linear, so
the slopes of their chords from 0 are extreme at the ends of the box or where a cell ends; the mixed part is at most
``|u v|`` times the greatest mixed difference of the cells' corners. Remainders so found vanish with the displacement:
that of a coordinate is no more than its share of the radius.

All pixels of a region are displaced alike, so what a sum over them deviates by is again a function of one displacement.
It is known exactly, signs and all, at a few displacements, the knots. Between two knots a pixel differs from the line
through its values there only by the tents under its kinks, which are what remains to be added up without signs.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple, assert_never

import torch
from torch import Tensor

from common.vocab import Norm
from worker.certify import relax
from worker.certify.ball import Ball
from worker.warp import warp

Sample = Callable[[Tensor, Tensor], Tensor]
Along = Callable[[Tensor], Tensor]

#: Shares of the reach at which sums of pixels are known exactly, in both directions. Many pixels lie almost on the
#: pixel grid, for what does not move has almost no flow: their kinks are close to 0.
KNOTS = tuple(2.0 ** (-half / 2) for half in range(14, -1, -1))
#: Share of the reach below which kinks are near.
_NEAR = 1 / 32
#: Stands for a reach of 0, which nothing divides by.
_TINY = 1e-150


class PixelForms(NamedTuple):
    """``center + Σ slopes[:, axis] * x_axis`` encloses each pixel but for ``Σ error[:, axis] * |x_axis| / radius``."""

    center: Tensor  #: ``[N, 3, H, W]``
    slopes: Tensor  #: ``[N, 2, 3, H, W]``, per unit of the scaled coordinates of the pixel's region
    error: Tensor  #: ``[N, 2, 3, H, W]``
    signed: SignedForms  #: another enclosure with the same slopes


class SignedForms(NamedTuple):
    """What sums over a region's pixels deviate by when displaced by a share of the radius along an axis.

    A sum with weights ``w`` deviates, along each axis, by the share times the greatest ``|w . knots|`` over the knots,
    plus the share times ``|w| . error``. Over both axes ``|w| . still`` is added, however small the shares.
    """

    knots: Tensor  #: ``[N, 2, A, 3, H, W]``, values at the knots divided by their shares
    error: Tensor  #: ``[N, 2, 3, H, W]``
    still: Tensor  #: ``[N, 3, H, W]``


def manipulated_frames(previous: Tensor, current: Tensor, flow: Tensor, unit: Tensor, ball: Ball) -> PixelForms:
    """Enclose ``clip(current + W(previous, flow + d) - W(previous, flow), 0, 1)`` for all changes ``d`` in the ball.

    ``previous`` and ``current`` are ``[N, 3, H, W]`` in [0, 1], ``flow`` is ``[N, 2, H, W]`` in pixels, all float64;
    ``unit`` ``[N, H, W]`` is the pixels by which a unit of its scaled coordinate moves a pixel of the frame.
    """
    slopes, error, signed = warp_change(previous, flow, ball.radius * unit, ball.norm)
    slopes = slopes * unit[:, None, None]
    most = ball.radius * slopes.abs() + error
    slope, share = relax.clip(current, Ball(ball.norm, 1.0).reach(most, dim=1))
    slope, cut = slope[:, None], share[:, None] * most
    signed = SignedForms(slope[:, None] * signed.knots, slope * signed.error + cut, slope[:, 0] * signed.still)
    return PixelForms(current, slope * slopes, slope * error + cut, signed)


def warp_change(frame: Tensor, flow: Tensor, reach: Tensor, norm: Norm) -> tuple[Tensor, Tensor, SignedForms]:
    """Slopes and errors of ``W(frame, flow + d) - W(frame, flow)`` for ``|d| <= reach`` in the norm over both axes.

    ``frame`` is ``[N, 3, H, W]``, ``flow`` ``[N, 2, H, W]`` and ``reach`` ``[N, H, W]`` in pixels. The slopes
    ``[N, 2, 3, H, W]`` are per pixel of displacement; the change differs from ``Σ slopes * d`` by no more than
    ``Σ errors * |d_axis| / reach``, and by no more than the signed forms say, shares being of the reach.
    """

    def sample(u: Tensor, v: Tensor) -> Tensor:
        return warp(frame, flow + torch.stack([u, v], dim=1))

    still = torch.zeros_like(reach)
    axes: list[Along] = [lambda u: sample(u, still), lambda v: sample(still, v)]
    positions = [_positions(flow, 0), _positions(flow, 1)]
    chords = [_chords(*along, reach) for along in zip(axes, positions, strict=True)]
    least, most = (torch.stack(ends, dim=1) for ends in zip(*chords, strict=True))
    slopes = (least + most) / 2
    mixed = (_mixed(sample, flow, reach) * (reach * reach * _mixed_share(norm))[:, None])[:, None]
    knots = [_at_knots(along, slope, reach) for along, slope in zip(axes, slopes.unbind(1), strict=True)]
    tents = [_tents(*along, reach) for along in zip(axes, positions, strict=True)]
    tied, free = (torch.stack(part, dim=1) for part in zip(*tents, strict=True))
    signed = SignedForms(torch.stack(knots, dim=1), tied + mixed, free.sum(1))
    return slopes, (most - least) / 2 * reach[:, None, None] + mixed, signed


def _at_knots(sample: Along, slope: Tensor, reach: Tensor) -> Tensor:
    """What the warp along an axis deviates by from its slope at the knots, over their shares, ``[N, A, 3, H, W]``."""
    unchanged = sample(torch.zeros_like(reach))
    ends = [sign * knot * reach for knot in KNOTS for sign in (1.0, -1.0)]
    shares = [knot for knot in KNOTS for _ in range(2)]
    return torch.stack(
        [(sample(end) - unchanged - slope * end[:, None]) / share for end, share in zip(ends, shares, strict=True)],
        dim=1,
    )


def _tents(sample: Along, position: Tensor, reach: Tensor) -> tuple[Tensor, Tensor]:
    """Most that the warp along an axis differs from the lines between its values at the knots, ``[N, 3, H, W]`` each.

    The first part is for all of the reach and falls with the share of it; the second does not. A kink between two knots
    raises a tent over the line, whose height per share is greatest at its top. Kinks close to 0 have a low tent that
    would be high as a share, so these are taken as they are.
    """
    nothing = torch.zeros_like(sample(reach))
    knots = torch.tensor((0.0, *KNOTS), dtype=reach.dtype, device=reach.device)
    cell = position.floor()
    sides = []
    # Displacements of one sign are met on each side; the worse counts.
    for sign, first in ((1.0, position - cell), (-1.0, cell + 1 - position)):
        tied = free = nothing
        for step in range(math.floor(float(reach.max())) + 1):
            kink = first + step
            share = kink / reach.clamp(min=_TINY)
            after = torch.bucketize(share, knots).clamp(1, len(KNOTS))
            low, high = knots[after - 1], knots[after]
            tent = ((share - low) * (high - share) / (high - low)).clamp(min=0) * reach
            bend = (sample(sign * kink + 1) - 2 * sample(sign * kink) + sample(sign * kink - 1)).abs()
            height = tent[:, None] * bend
            near = (share < _NEAR)[:, None]
            free = free + torch.where(near, height, 0.0)
            tied = tied + torch.where(near, 0.0, height / share.clamp(min=_NEAR)[:, None])
        sides.append((tied, free))
    return torch.maximum(sides[0][0], sides[1][0]), torch.maximum(sides[0][1], sides[1][1])


def _positions(flow: Tensor, axis: int) -> Tensor:
    """Where each pixel is sampled along an axis, ``[N, H, W]``."""
    grid = torch.arange(flow.shape[-1 - axis], dtype=flow.dtype, device=flow.device)
    return (grid if axis == 0 else grid[:, None]) - flow[:, axis]


def _chords(sample: Along, position: Tensor, reach: Tensor) -> tuple[Tensor, Tensor]:
    """Least and greatest slope of chords from 0 of the warp along one axis, ``[N, 3, H, W]`` each.

    ``sample`` takes displacements, which the position falls with.
    """
    unchanged = sample(torch.zeros_like(reach))
    cell = position.floor()
    # Chords that end in the cell they start in have its slope, taken from its two ends, one pixel apart.
    least = most = sample(position - cell) - sample(position - cell - 1)
    ends = [reach, -reach]
    for step in range(1, math.floor(float(reach.max())) + 1):
        ends += [position - cell + step, position - cell - 1 - step]
    for end in ends:
        # A displacement of 0 has no chord; beyond the reach, none matters.
        counts = ((end.abs() <= reach) & (end != 0))[:, None]
        slope = (sample(end) - unchanged) / torch.where(counts, end[:, None], 1.0)
        least = torch.where(counts, torch.minimum(least, slope), least)
        most = torch.where(counts, torch.maximum(most, slope), most)
    return least, most


def _mixed(sample: Sample, flow: Tensor, reach: Tensor) -> Tensor:
    """Greatest absolute mixed difference of the cells that the box touches, ``[N, 3, H, W]``."""
    x, y = _positions(flow, 0), _positions(flow, 1)
    left, top = (x - reach).floor(), (y - reach).floor()
    corners = range(math.floor(2 * float(reach.max())) + 3)
    above: list[Tensor] = []
    greatest = torch.zeros((), dtype=flow.dtype, device=flow.device)
    for row in corners:
        line = [sample(x - (left + column), y - (top + row)) for column in corners]
        for column in corners[1:]:
            if above:
                bend = line[column] - line[column - 1] - above[column] + above[column - 1]
                greatest = torch.maximum(greatest, bend.abs())
        above = line
    return greatest


def _mixed_share(norm: Norm) -> float:
    """The least ``s`` with ``|u v| <= s * (|u| + |v|)`` wherever the norm of ``(u, v)`` is at most 1."""
    match norm:
        case Norm.L1:
            return 1 / 4
        case Norm.L2:
            return math.sqrt(1 / 8)
        case Norm.LINF:
            return 1 / 2
        case _:
            assert_never(norm)
