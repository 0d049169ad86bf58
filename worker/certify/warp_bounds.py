"""Decides which affine functions of a region's two displacements enclose every pixel of a manipulated frame.

The warp is bilinear in the displacement ``(u, v)`` within each cell of the pixel grid, border included (there it is
constant). It is taken apart as ``W(u, 0) + W(0, v) - W(0, 0)`` and a mixed part. The first two are piecewise linear, so
the slopes of their chords from 0 are extreme at the ends of the box or where a cell ends; the mixed part is at most
``|u v|`` times the greatest mixed difference of the cells' corners. Remainders so found vanish with the displacement:
that of a coordinate is no more than its share of the radius.
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


class PixelForms(NamedTuple):
    """``center + Σ slopes[:, axis] * x_axis`` encloses each pixel but for ``Σ error[:, axis] * |x_axis| / radius``."""

    center: Tensor  #: ``[N, 3, H, W]``
    slopes: Tensor  #: ``[N, 2, 3, H, W]``, per unit of the scaled coordinates of the pixel's region
    error: Tensor  #: ``[N, 2, 3, H, W]``


def manipulated_frames(previous: Tensor, current: Tensor, flow: Tensor, unit: Tensor, ball: Ball) -> PixelForms:
    """Enclose ``clip(current + W(previous, flow + d) - W(previous, flow), 0, 1)`` for all changes ``d`` in the ball.

    ``previous`` and ``current`` are ``[N, 3, H, W]`` in [0, 1], ``flow`` is ``[N, 2, H, W]`` in pixels, all float64;
    ``unit`` ``[N, H, W]`` is the pixels by which a unit of its scaled coordinate moves a pixel of the frame.
    """
    slopes, error = warp_change(previous, flow, ball.radius * unit, ball.norm)
    slopes = slopes * unit[:, None, None]
    most = ball.radius * slopes.abs() + error
    slope, share = relax.clip(current, Ball(ball.norm, 1.0).reach(most, dim=1))
    slope, share = slope[:, None], share[:, None]
    return PixelForms(current, slope * slopes, slope * error + share * most)


def warp_change(frame: Tensor, flow: Tensor, reach: Tensor, norm: Norm) -> tuple[Tensor, Tensor]:
    """Slopes and errors of ``W(frame, flow + d) - W(frame, flow)`` for ``|d| <= reach`` in the norm over both axes.

    ``frame`` is ``[N, 3, H, W]``, ``flow`` ``[N, 2, H, W]`` and ``reach`` ``[N, H, W]`` in pixels. The slopes
    ``[N, 2, 3, H, W]`` are per pixel of displacement; the change differs from ``Σ slopes * d`` by no more than
    ``Σ errors * |d_axis| / reach``.
    """

    def sample(u: Tensor, v: Tensor) -> Tensor:
        return warp(frame, flow + torch.stack([u, v], dim=1))

    still = torch.zeros_like(reach)
    chords = (
        _chords(lambda u: sample(u, still), _positions(flow, 0), reach),
        _chords(lambda v: sample(still, v), _positions(flow, 1), reach),
    )
    least, most = (torch.stack(ends, dim=1) for ends in zip(*chords, strict=True))
    mixed = _mixed(sample, flow, reach) * (reach * reach * _mixed_share(norm))[:, None]
    return (least + most) / 2, (most - least) / 2 * reach[:, None, None] + mixed[:, None]


def _positions(flow: Tensor, axis: int) -> Tensor:
    """Where each pixel is sampled along an axis, ``[N, H, W]``."""
    grid = torch.arange(flow.shape[-1 - axis], dtype=flow.dtype, device=flow.device)
    return (grid if axis == 0 else grid[:, None]) - flow[:, axis]


def _chords(sample: Callable[[Tensor], Tensor], position: Tensor, reach: Tensor) -> tuple[Tensor, Tensor]:
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
