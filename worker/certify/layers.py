"""Decides how each layer of a frame encoder acts on affine forms, and which layers continuous certificates support.

A form encloses an array by ``center + slopes.x ± error.|x| / radius`` with the scaled coordinates ``x`` of the
frame's own flow. The center is the unchanged frame's value and every remainder vanishes there, so that flows that share
the radius cannot all have their greatest remainders at once.
Going forward, remainders are added up as intervals, which serves only to bound what the next nonlinear layer meets.
Each layer also gives a pullback: how rows of a linear function of its output become rows over its input, and which
fresh remainder it added. The encoder takes rows all the way back, where their signs cancel as they should.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.grad import conv2d_input

from common.errors import InputError
from worker.certify import relax
from worker.certify.ball import Ball


class Forms(NamedTuple):
    """Affine forms of ``N`` arrays, each in the ``K`` scaled coordinates of its own flow."""

    center: Tensor  #: ``[N, *size]``
    slopes: Tensor  #: ``[N, K, *size]``
    error: Tensor  #: ``[N, K, *size]``, what each coordinate's remainders come to when it has all of the radius

    def most(self, ball: Ball) -> Tensor:
        """How far each coordinate moves the arrays when it has all of the radius, ``[N, K, *size]``."""
        return ball.radius * self.slopes.abs() + self.error

    def span(self, ball: Ball) -> Tensor:
        """Greatest distance from the center in the ball, ``[N, *size]``."""
        return Ball(ball.norm, 1.0).reach(self.most(ball), dim=1)


class Pullback(NamedTuple):
    """The way back through a layer."""

    transpose: Callable[[Tensor], Tensor]  #: rows ``[N, R, *output]`` to rows ``[N, R, *input]``, in their dtype
    fresh: Tensor | None  #: remainder added by the layer to each of its outputs, by coordinate, ``[N, K, *output]``


Step = Callable[[Forms, Ball], tuple[Forms, Pullback]]

_LINEAR = (nn.Conv2d, nn.Linear, nn.BatchNorm2d, nn.BatchNorm1d, nn.AvgPool2d, nn.AdaptiveAvgPool2d, nn.Flatten)
_NOTHING = (nn.Dropout, nn.Dropout2d, nn.Identity)


class Scale(nn.Module):
    """Multiplies and shifts channels: preprocessing, and batch normalisation outside training."""

    def __init__(self, factor: Tensor, shift: Tensor) -> None:
        super().__init__()
        self.weight = nn.Parameter(factor, requires_grad=False)
        self.bias = nn.Parameter(shift, requires_grad=False)

    def forward(self, values: Tensor) -> Tensor:
        """Give ``values * weight + bias``; both broadcast over the trailing dimensions."""
        return values * self.weight + self.bias


def unsupported(module: nn.Module) -> str | None:
    """Say which layer continuous certificates do not support, as words for the user; None when all are."""
    if isinstance(module, nn.Sequential):
        return next((reason for child in module if (reason := unsupported(child)) is not None), None)
    name = type(module).__name__
    if isinstance(module, nn.Conv2d) and (module.padding_mode != "zeros" or isinstance(module.padding, str)):
        return f"{name} with padding other than a number of zeros"
    if isinstance(module, nn.MaxPool2d) and (module.ceil_mode or module.return_indices):
        return f"{name} with ceil_mode or return_indices"
    if isinstance(module, (nn.BatchNorm1d, nn.BatchNorm2d)) and (module.training or module.running_mean is None):
        return f"{name} without running statistics"
    known = (*_LINEAR, *_NOTHING, Scale, nn.ReLU, nn.MaxPool2d)
    # Exactly these types: a sub-class may compute something else.
    return None if type(module) in known else name


def steps_of(module: nn.Module) -> list[Step]:
    """Take a layer, or a sequence of layers, as steps; raises InputError for one that is not supported."""
    reason = unsupported(module)
    if reason is not None:
        raise InputError("model", f"{reason} is not supported by continuous certificates")
    if isinstance(module, nn.Sequential):
        return [step for child in module for step in steps_of(child)]
    if isinstance(module, _NOTHING):
        return []
    if isinstance(module, nn.ReLU):
        return [relu_step]
    if isinstance(module, nn.MaxPool2d):
        return [MaxPoolStep(module)]
    return [LinearStep(_as_scale(module) if isinstance(module, (nn.BatchNorm1d, nn.BatchNorm2d)) else module)]


def relu_step(forms: Forms, ball: Ball) -> tuple[Forms, Pullback]:
    """Relax ReLU by its chords from the center: each remainder is a share of what moved the number."""
    most = forms.most(ball)
    slope, share = (part.unsqueeze(1) for part in relax.relu(forms.center, forms.span(ball)))
    fresh = share * most
    relaxed = Forms(forms.center.relu(), slope * forms.slopes, slope * forms.error + fresh)
    return relaxed, Pullback(lambda rows: rows * slope.to(rows.dtype), fresh)


class LinearStep:
    """A linear layer; its transpose is its derivative's, so every kind of layer is taken as it is."""

    def __init__(self, module: nn.Module) -> None:
        self._module = module
        self._linear, self._absolute = copy.deepcopy(module), copy.deepcopy(module)
        for changed in (self._linear, self._absolute):
            bias = getattr(changed, "bias", None)
            if isinstance(bias, Tensor):
                bias.detach().zero_()
        weight = getattr(self._absolute, "weight", None)
        if isinstance(weight, Tensor):
            weight.detach().abs_()
        self._single = copy.deepcopy(self._linear).float()

    def __call__(self, forms: Forms, _ball: Ball) -> tuple[Forms, Pullback]:
        """Map the center with the layer, slopes without its bias, remainders with absolute weights."""
        center: Tensor = self._module(forms.center)
        slopes = _each(self._linear, forms.slopes)
        mapped = Forms(center, slopes, _each(self._absolute, forms.error))
        return mapped, Pullback(lambda rows: self._transpose(rows, forms.center.shape[1:]), None)

    def _transpose(self, rows: Tensor, size: torch.Size) -> Tensor:
        flat = rows.flatten(0, 1)
        inputs_size = (len(flat), *size)
        layer = self._single if rows.dtype is torch.float32 else self._linear
        if isinstance(layer, nn.Conv2d):
            # The same as below without the forward pass, which would take as long again.
            pulled: Tensor = conv2d_input(  # type: ignore[no-untyped-call]
                inputs_size, layer.weight, flat, layer.stride, layer.padding, layer.dilation, layer.groups
            )
        else:
            with torch.enable_grad():
                inputs = flat.new_zeros(inputs_size, requires_grad=True)
                (pulled,) = torch.autograd.grad(layer(inputs), inputs, flat)
        return pulled.view(*rows.shape[:2], *size)


class MaxPoolStep:
    """Max pooling: the input that is greatest at the center, plus a remainder for those that may overtake it."""

    def __init__(self, module: nn.MaxPool2d) -> None:
        self._module = module

    def __call__(self, forms: Forms, ball: Ball) -> tuple[Forms, Pullback]:
        """Relax by selection; a winner that is certain leaves no remainder."""
        outputs, chosen = nn.functional.max_pool2d(
            forms.center, self._module.kernel_size, self._module.stride, self._module.padding,
            self._module.dilation, return_indices=True,
        )  # fmt: skip
        winner = _select(forms, chosen.flatten(2))
        excess = torch.zeros_like(winner.error)
        for rival in self._windows(forms.center):
            ahead = self._ahead(forms, winner, rival, ball)
            # A rival that is the winner itself is ahead by nothing, not by twice its own remainder.
            real = ((rival >= 0) & (rival != chosen.flatten(2))).unsqueeze(1)
            excess = torch.maximum(excess, torch.where(real, ahead, 0.0))
        size = outputs.shape[2:]
        slopes, error, excess = (
            part.view(*part.shape[:-1], *size) for part in (winner.slopes, winner.error + excess, excess)
        )
        pooled = Forms(outputs, slopes, error)
        pull = Pullback(lambda rows: _scatter(rows, chosen, forms.center.shape), excess)
        return pooled, pull

    def _ahead(self, forms: Forms, winner: Forms, rival: Tensor, ball: Ball) -> Tensor:
        """The most by which a rival can exceed the winner, by coordinate, ``[N, K, C, L]``; 0 where it cannot."""
        other = _select(forms, rival.clamp(min=0).expand_as(winner.center))
        gap = Forms(other.center - winner.center, other.slopes - winner.slopes, other.error + winner.error)
        # At the center it is behind, so what is left of the distance grows no faster than the distance itself.
        share = relax.lead(gap.center, gap.span(ball))
        return share.unsqueeze(1) * gap.most(ball)

    def _windows(self, values: Tensor) -> Tensor:
        """Flat positions of the inputs of each window, ``[kernel, L]``; -1 in the padding."""
        height, width = values.shape[-2:]
        numbers = torch.arange(1, height * width + 1, dtype=values.dtype, device=values.device)
        unfolded = nn.functional.unfold(
            numbers.view(1, 1, height, width), self._module.kernel_size, self._module.dilation,
            self._module.padding, self._module.stride,
        )  # fmt: skip
        return unfolded[0].long() - 1


def _select(forms: Forms, index: Tensor) -> Forms:
    """Pick flat positions ``[N, C, L]`` from forms of maps."""
    wide = index.unsqueeze(1).expand(-1, forms.slopes.shape[1], -1, -1)
    slopes, error = (part.flatten(3).gather(3, wide) for part in (forms.slopes, forms.error))
    return Forms(forms.center.flatten(2).gather(2, index), slopes, error)


def _scatter(rows: Tensor, chosen: Tensor, size: torch.Size) -> Tensor:
    """Add rows ``[N, R, C, h, w]`` up at the positions their outputs were taken from."""
    pulled = rows.new_zeros((*rows.shape[:3], size[-2] * size[-1]))
    index = chosen.flatten(2).unsqueeze(1).expand(-1, rows.shape[1], -1, -1)
    return pulled.scatter_add_(3, index, rows.flatten(3)).view(*rows.shape[:3], *size[-2:])


def _each(module: nn.Module, slopes: Tensor) -> Tensor:
    """Apply a layer to every coordinate's slopes ``[N, K, *size]``."""
    mapped: Tensor = module(slopes.flatten(0, 1))
    return mapped.view(*slopes.shape[:2], *mapped.shape[1:])


def _as_scale(module: nn.BatchNorm1d | nn.BatchNorm2d) -> Scale:
    """Batch normalisation outside training multiplies and shifts."""
    mean, variance = module.running_mean, module.running_var
    if mean is None or variance is None:
        raise InputError("model", f"{type(module).__name__} without running statistics is not supported")
    factor = (variance + module.eps).rsqrt()
    if module.affine:
        factor = factor * module.weight.detach()
    shift = -mean * factor + (module.bias.detach() if module.affine else 0.0)
    trailing = (1, 1) if isinstance(module, nn.BatchNorm2d) else ()
    return Scale(factor.view(-1, *trailing), shift.view(-1, *trailing))
