"""Decides how each layer of a frame encoder acts on affine forms, and which layers continuous certificates support.

Each layer gives forms of its output, and a pullback: how rows of a linear function of its output become rows over its
input, and which fresh remainder it added.
"""

from __future__ import annotations

import copy
import math

import torch
from torch import Tensor, nn
from torch.nn.grad import conv2d_input

from common.errors import InputError
from worker.certify import relax
from worker.certify.ball import Ball
from worker.certify.maps import Forms, Pullback, Step
from worker.certify.pooling import MaxPoolStep
from worker.certify.windows import SAME, windows_of

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
    pull = Pullback(lambda rows: rows * slope.to(rows.dtype), lambda sizes: slope[:, 0] * sizes, SAME, 1, fresh)
    return relaxed, pull


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
        windows = SAME if isinstance(self._module, Scale) else windows_of(self._module)
        weight = getattr(self._module, "weight", None)
        if isinstance(self._module, (nn.Conv2d, nn.Linear)) and isinstance(weight, Tensor):
            terms = weight[:, 0].numel()
        else:
            # An input is in no more windows than a window has inputs, nor in more than there are.
            terms = math.prod(center.shape[2:] if windows is None else (axis.extent for axis in windows))
        return mapped, Pullback(
            lambda rows: self._transpose(rows, forms.center.shape[1:]), self._absolute, windows, terms
        )

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
