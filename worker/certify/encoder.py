"""Decides what the features of all manipulated frames can be: affine forms in their own flow's coordinates."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from common.errors import InputError
from worker.certify.ball import Ball, pixels_per_unit
from worker.certify.layers import Forms, Pullback, Scale, Step, relu_step, steps_of
from worker.certify.warp_bounds import manipulated_frames
from worker.models.cnn import CnnGru, CnnLstm, CnnMean
from worker.models.vgg16_lstm import Vgg16Lstm
from worker.plain import PlainEvaluator

#: Most numbers that a frame's pixels may have, all coordinates counted; layers may have several times as many.
_MOST_NUMBERS = 2**25
#: Neurons whose remainders are computed at once.
_ROWS = 128
#: Rounding of a float32 pass back through an encoder, as a share of the magnitudes added up: each of some ten layers
#: adds up to some thousand products, and errors of 6e-8 each do not all point the same way.
_SINGLE_ROUNDING = 1e-4
#: Two computations of a feature in float64 agree within this share of 1 plus the greatest feature.
_AGREEMENT = 1e-9


@runtime_checkable
class Layered(Protocol):
    """A user's frame model that says which layers its ``encode`` is made of, in order."""

    def encoder_layers(self) -> nn.Sequential:
        """Give the layers from the frame ``[N, 3, H, W]`` in [0, 1] to the features ``[N, F]``."""
        ...


class FeatureForms(NamedTuple):
    """Features of the changed frames: ``center + slopes.x ± tied * |x| / radius``, ``x`` of the frame's own flow."""

    center: Tensor  #: ``[N, F]``
    slopes: Tensor  #: ``[N, K, F]``, in the scaled coordinates of the frame's own flow
    tied: Tensor  #: ``[N, F]``


def encoder_layers(module: nn.Module) -> nn.Sequential:
    """Give the layers of a model's ``encode``; raises InputError when they are not known."""
    if isinstance(module, (CnnLstm, CnnGru, CnnMean)):
        weight = next(module.encoder.parameters())
        return nn.Sequential(Scale(weight.new_full((1,), 2.0), weight.new_full((1,), -1.0)), *module.encoder)
    if isinstance(module, Vgg16Lstm):
        # Pooling 7x7 maps to 7x7 changes nothing, so it need not be left out at 224x224 as `encode` does.
        normalise = Scale(1 / module.std, -module.mean / module.std)
        return nn.Sequential(normalise, *module.features, nn.AdaptiveAvgPool2d(7), nn.Flatten(), *module.classifier)
    if isinstance(module, Layered):
        return module.encoder_layers()
    raise InputError("model", f"{type(module).__name__} is not supported by continuous certificates")


@dataclass(frozen=True, eq=False)
class FrameBounds:
    """Bounds of the features of one clip's frames; ``plain`` must be in float64."""

    plain: PlainEvaluator

    @cached_property
    def steps(self) -> list[Step]:
        """The encoder, layer by layer; raises InputError when its layers are not supported or not its own."""
        coordinates = max(self.flows)
        if coordinates * self.plain.frames[0].numel() > _MOST_NUMBERS:
            raise InputError("features", f"{coordinates} coordinates a flow are too many for continuous certificates")
        layers = encoder_layers(self.plain.module)
        steps = steps_of(layers)
        encode: Callable[[Tensor], Tensor] = self.plain.module.encode  # type: ignore[assignment]
        true, taken = encode(self.plain.frames), layers(self.plain.frames)
        if true.shape != taken.shape or bool(((true - taken).abs() > _AGREEMENT * (1 + true.abs().max())).any()):
            raise InputError("model", "its encoder_layers() compute something else than its encode()")
        return steps

    @cached_property
    def first(self) -> Tensor:
        """Features of the first frame, which no flow changes, ``[F]``."""
        features: Tensor = self.plain.module.encode(self.plain.frames[:1])[0]  # type: ignore[operator]
        return features

    @cached_property
    def flows(self) -> list[int]:
        """Number of coordinates of each flow."""
        return [2 * len(sizes) for sizes in self.plain.clip.region_sizes]

    def features(self, ball: Ball, stop: Callable[[], bool]) -> FeatureForms | None:
        """Enclose the features of frames 1, 2, ... for all changes in the ball; None when told to stop."""
        parts = []
        for t in range(len(self.plain.flow)):
            if stop():
                return None
            parts.append(self._frame(t, ball))
        return FeatureForms(*(torch.cat(part) for part in zip(*parts, strict=True)))

    def _frame(self, t: int, ball: Ball) -> FeatureForms:
        forms, pixels = self._pixels(t, ball)
        way = _Way(pixels)
        for step in self.steps:
            if step is relu_step:
                forms = _sharpened(forms, way, ball)
            forms, pull = step(forms, ball)
            way.pulls.append(pull)
        rows = torch.eye(forms.center.shape[1], device=forms.center.device)[None]
        error = way.remainder(rows, forms.error)
        return FeatureForms(forms.center, forms.slopes, Ball(ball.norm, 1.0).reach(error, dim=1))

    def _pixels(self, t: int, ball: Ball) -> tuple[Forms, _Pixels]:
        """Forms of a frame's pixels; each has slopes and remainders in its own region's coordinates alone."""
        plain = self.plain
        labels = torch.from_numpy(plain.clip.labels[t]).to(plain.device, torch.int64)
        sizes = torch.tensor(plain.clip.region_sizes[t], dtype=plain.dtype, device=plain.device)
        unit = pixels_per_unit(sizes, ball.norm)[labels][None]
        part = slice(t, t + 1)
        pixels = manipulated_frames(plain.frames[part], plain.frames[t + 1 : t + 2], plain.flow[part], unit, ball)
        slopes, error = pixels.center.new_zeros((2, 1, max(self.flows), *pixels.center.shape[1:]))
        for axis in range(2):
            index = (2 * labels + axis).expand(1, 1, slopes.shape[2], -1, -1)
            slopes.scatter_(1, index, pixels.slopes[:, axis : axis + 1])
            error.scatter_(1, index, pixels.error[:, axis : axis + 1])
        regions = nn.functional.one_hot(labels.flatten(), max(self.flows) // 2).to(plain.dtype)
        return Forms(pixels.center, slopes, error), _Pixels(pixels.error[0], regions)


class _Pixels(NamedTuple):
    """Remainders of a frame's pixels."""

    error: Tensor  #: ``[2, 3, H, W]``, by axis
    regions: Tensor  #: 1 where a pixel is in a region, ``[H * W, K / 2]``

    def effect(self, rows: Tensor) -> Tensor:
        """How far they move functions ``[1, R, 3, H, W]`` of the pixels, by coordinate, ``[1, R, K]``."""
        sizes, error, regions = rows.abs(), self.error.to(rows.dtype), self.regions.to(rows.dtype)
        by_axis = [torch.einsum("nrchw,chw->nrhw", sizes, axis).flatten(2) @ regions for axis in error]
        return torch.stack(by_axis, dim=3).flatten(2)


@dataclass
class _Way:
    """What a frame's forms went through so far: its pixels' remainders, and the layers."""

    pixels: _Pixels
    pulls: list[Pullback] = field(default_factory=list)

    def remainder(self, rows: Tensor, intervals: Tensor) -> Tensor:
        """Most that remainders move linear functions of the last layer's output, by coordinate, ``[1, K, R]``.

        The functions are the rows ``[1, R, *output]``, float32, for that is several times as fast; ``intervals``
        ``[1, K, R]``, the same added up without signs and so by magnitude, says what their rounding can have cost.
        """
        total = torch.zeros((), device=rows.device)
        for pull in reversed(self.pulls):
            if pull.fresh is not None:
                amounts = pull.fresh[0].flatten(1)
                which = (amounts > 0).any(dim=0).nonzero()[:, 0]
                total = total + rows.flatten(2)[:, :, which].abs() @ amounts[:, which].t().to(rows.dtype)
            rows = pull.transpose(rows)
        return (total + self.pixels.effect(rows)).double().transpose(1, 2) + _SINGLE_ROUNDING * intervals


def _sharpened(forms: Forms, way: _Way, ball: Ball) -> Forms:
    """Follow remainders that leave the sign of a neuron in doubt all the way back to the pixels."""
    if all(pull.fresh is None for pull in way.pulls):
        return forms  # There is nothing between that signs could cancel in.
    doubtful = (forms.center.abs() < forms.span(ball)).flatten().nonzero()[:, 0]
    error = forms.error.flatten(2).clone()
    for some in torch.split(doubtful, _ROWS):
        rows = torch.zeros((len(some), error.shape[2]), device=error.device)
        rows[torch.arange(len(some), device=rows.device), some] = 1.0
        rows = rows.view(1, len(some), *forms.center.shape[1:])
        error[:, :, some] = way.remainder(rows, error[:, :, some])
    return forms._replace(error=error.view_as(forms.error))
