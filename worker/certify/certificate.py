"""Decides the radius around a clip's flow within which no real change can change the class: a lower bound on MSR."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import cast

import torch
from torch import nn

from common.errors import InputError
from common.vocab import Norm
from worker.certify.ball import Ball, pixels_per_unit
from worker.certify.encoder import FrameBounds, encoder_layers
from worker.certify.forms import linear
from worker.certify.heads import last_state, unsupported_head
from worker.certify.layers import unsupported
from worker.plain import PlainEvaluator
from worker.tolerances import FLOAT64_BAND

#: First radius tried, as a share of the one that moves pixels by up to one pixel.
_FIRST = 0.1
#: Most radii tried, the unchanged clip included; a search ends when the next radius is less than this factor greater.
_MOST_CHECKS, _PRECISION = 16, 1.07
#: Factor to the next radius, down as long as none was proved, and at most up; the least factor up.
_STEP, _LEAST_STEP = 4.0, 1.15
#: Share of the radius at which the margin is expected to be lost, which is tried next; the share of a margin's loss
#: from which on nothing is expected.
_AIM, _MUCH = 0.7, 0.1


@dataclass(frozen=True)
class Certificate:
    """No change of the flow of at most ``radius`` pixels in the norm makes another class win."""

    radius: float  #: pixels of the norm; 0 when nothing could be certified
    margin_bound: float  #: lower bound of the margin within the radius, in logits
    checks: int  #: radii tried


def supports(module: nn.Module) -> str | None:
    """Say what of a model continuous certificates do not support, as words for the user; None when all is supported."""
    reason = unsupported_head(module)
    if reason is None:
        try:
            reason = unsupported(encoder_layers(module))
        except InputError as error:
            return error.problem
    return None if reason is None else f"{reason} is not supported by continuous certificates"


def margin_lower_bound(plain: PlainEvaluator, label: int, norm: Norm, radius: float) -> float:
    """Lower bound of the margin of class ``label`` over all real changes within ``radius`` pixels of the norm.

    In logits; computed in float64 and rounded down, so it holds for the model's numbers as they are. Minus infinity
    where a number overflowed or was NaN. The same call gives the same number: it re-checks a certificate that was
    stored. Raises InputError for a model that is not supported.
    """
    return _MarginBounds(plain, label, norm).check(radius).margin


def certified_radius(
    plain: PlainEvaluator, label: int, norm: Norm, *, upper: float, stop: Callable[[], bool] = lambda: False
) -> Certificate:
    """Certify a radius as large as this method can, within some percent; never beyond ``upper``.

    ``plain`` is the clip with its features and model, ``label`` the class that must keep winning, ``norm`` measures
    changes of all flows together. ``upper``, in pixels of the norm, is a distance known to be adversarial or the radius
    asked for; it may be infinite. ``stop`` is asked before each frame; when it says so, the best radius so far is
    returned, which may be 0. Raises InputError for a model that is not supported.
    """
    bounds = _MarginBounds(plain, label, norm, stop)
    exact = best = bounds.check(0.0)
    checks, refused = 1, math.inf
    radius = min(upper, _FIRST * bounds.widest)
    while exact.margin > 0 and checks < _MOST_CHECKS and radius > _PRECISION * best.radius and not stop():
        check = bounds.check(radius)
        checks += 1
        if check.margin > 0:
            best = check
        else:
            refused = radius
        radius = min(upper, _next_radius(exact, best, refused))
    return Certificate(best.radius, best.margin, checks)


@dataclass(frozen=True)
class _Check:
    """What was proved at a radius."""

    radius: float  #: pixels of the norm
    margin: float  #: lower bound of the margin; minus infinity when nothing was proved


@dataclass(frozen=True, eq=False)
class _MarginBounds:
    """Lower bounds of one clip's margin."""

    plain: PlainEvaluator
    label: int
    norm: Norm
    stop: Callable[[], bool] = lambda: False

    @cached_property
    def frames(self) -> FrameBounds:
        """Bounds of the frames, in float64; raises InputError for a model that is not supported."""
        reason = supports(self.plain.module)
        if reason is not None:
            raise InputError("model", reason)
        return FrameBounds(self.plain.in_float64())

    def check(self, radius: float) -> _Check:
        """Bound the margin within a radius; nothing is proved when told to stop."""
        ball = Ball(self.norm, radius)
        module = self.frames.plain.module
        with torch.no_grad():
            features = self.frames.features(ball, self.stop)
            if features is None:
                return _Check(radius, -math.inf)
            state = last_state(module, self.frames.first, features, ball)
            dense = cast("nn.Linear", module.dense)
            others = torch.arange(dense.out_features) != self.label
            weight, bias = (part[self.label] - part[others] for part in (dense.weight, dense.bias))
            leads = linear(state, weight, bias)
            least = (leads.center - leads.radius(ball)).min()
            # What rounding can have done, here and in the evaluation that the bound speaks of.
            size = linear(state, dense.weight, dense.bias).center.abs().max() + leads.radius(ball).max()
            margin = float(least - FLOAT64_BAND * (1 + size))
        # NaN is no proof, nor is an infinite margin, which only an overflow can give.
        return _Check(radius, margin if math.isfinite(margin) else -math.inf)

    @cached_property
    def widest(self) -> float:
        """Radius, in pixels of the norm, that moves no pixel of any frame by more than one pixel."""
        sizes = torch.tensor(self.plain.clip.coordinate_sizes, dtype=torch.float64)
        return 1.0 / float(pixels_per_unit(sizes, self.norm).max())


def _next_radius(exact: _Check, best: _Check, refused: float) -> float:
    """Choose the radius to try next, between the greatest proved and the least refused."""
    if best.radius == 0.0:
        return refused / _STEP
    if refused < math.inf:
        return math.sqrt(best.radius * refused)
    # The margin is lost as about the fourth power of the radius while little is lost, and then all at once. Radii too
    # great take longest, so they are approached from below.
    lost = max((exact.margin - best.margin) / exact.margin, 1e-9)
    return best.radius * (_LEAST_STEP if lost > _MUCH else max(_LEAST_STEP, min(_STEP, _AIM * lost**-0.25)))
