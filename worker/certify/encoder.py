"""Decides what the features of all manipulated frames can be: affine forms in their own flow's coordinates."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from common.errors import InputError
from worker.certify.ball import Ball, pixels_per_unit
from worker.certify.layers import Scale, relu_step, steps_of
from worker.certify.maps import Forms, Step
from worker.certify.pixel_remainders import PixelRemainders
from worker.certify.remainders import Way
from worker.certify.warp_bounds import manipulated_frames
from worker.models.cnn import CnnGru, CnnLstm, CnnMean
from worker.models.vgg16_lstm import Vgg16Lstm
from worker.plain import PlainEvaluator

#: Most numbers that a frame's pixels may have, all coordinates counted; layers may have several times as many.
_MOST_NUMBERS = 2**25
#: Two computations of a feature in float64 agree within this share of 1 plus the greatest feature.
_AGREEMENT = 1e-9


@runtime_checkable
class Layered(Protocol):
    """A user's frame model that says which layers its ``encode`` is made of, in order."""

    def encoder_layers(self) -> nn.Sequential:
        """Give the layers from the frame ``[N, 3, H, W]`` in [0, 1] to the features ``[N, F]``."""
        ...


class FeatureForms(NamedTuple):
    """Features of the changed frames: ``center + slopes.x + tied @ f ± free``, ``x`` of the frame's own flow.

    All of ``f`` are unknowns of at most ``|x| / radius``. The columns of ``tied`` are the axes along which the frame's
    remainders were bounded: features that deviate together do so here as well.
    """

    center: Tensor  #: ``[N, F]``
    slopes: Tensor  #: ``[N, K, F]``, in the scaled coordinates of the frame's own flow
    tied: Tensor  #: ``[N, F, F]``, an unknown to a column
    free: Tensor  #: ``[N, F]``, at least 0


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
        if ball.radius == 0.0:
            return self._unchanged(t)
        forms, way = self._pixels(t, ball)
        for step in self.steps:
            if step is relu_step:
                forms = way.sharpened(forms, ball)
            forms, pull = step(forms, ball)
            way.take(pull)
        axes = way.axes()
        error = way.of_functions(axes)
        tied, free = axes.t() * Ball(ball.norm, 1.0).reach(error[:, :-1], dim=1), axes.t().abs() @ error[:, -1]
        return FeatureForms(forms.center, forms.slopes[:, :-1], tied[None], free[None])

    def _unchanged(self, t: int) -> FeatureForms:
        """The same for a ball of no radius, where nothing has to be bounded."""
        center: Tensor = self.plain.module.encode(self.plain.frames[t + 1 : t + 2])  # type: ignore[operator]
        count = center.shape[1]
        sizes = (max(self.flows), count), (count, count), (count,)
        return FeatureForms(center, *(center.new_zeros((1, *size)) for size in sizes))

    def _pixels(self, t: int, ball: Ball) -> tuple[Forms, Way]:
        """Forms of a frame's pixels; each has slopes and remainders in its own region's coordinates alone."""
        plain = self.plain
        labels = torch.from_numpy(plain.clip.labels[t]).to(plain.device, torch.int64)
        sizes = torch.tensor(plain.clip.region_sizes[t], dtype=plain.dtype, device=plain.device)
        unit = pixels_per_unit(sizes, ball.norm)[labels][None]
        part = slice(t, t + 1)
        pixels = manipulated_frames(plain.frames[part], plain.frames[t + 1 : t + 2], plain.flow[part], unit, ball)
        slopes, error = pixels.center.new_zeros((2, 1, max(self.flows) + 1, *pixels.center.shape[1:]))
        for axis in range(2):
            index = (2 * labels + axis).expand(1, 1, slopes.shape[2], -1, -1)
            slopes.scatter_(1, index, pixels.slopes[:, axis : axis + 1])
            error.scatter_(1, index, pixels.error[:, axis : axis + 1])
        remainders = PixelRemainders(pixels.signed, labels, max(self.flows) // 2)
        return Forms(pixels.center, slopes, error), Way(remainders, remainders.sizes)
