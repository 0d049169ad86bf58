"""Evaluates grid points the plain way: the manipulated clip is built and the whole model runs on it."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from common.errors import NumericalError
from common.game import Point
from worker.clip import PreparedClip, frames_tensor
from worker.composed import ComposedFrames
from worker.halving import Halving
from worker.warp import manipulated_frame

Logits = npt.NDArray[np.float64]


class Evaluator(Protocol):
    """Whatever can give the logits of grid points; exploration and attack ask for nothing else."""

    @property
    def batch(self) -> int:
        """Points worth evaluating together."""
        ...

    def logits(self, points: Sequence[Point]) -> Logits:
        """Logits ``[B, C]`` of ``B`` grid points; raises NumericalError when one is NaN or infinite."""
        ...


@dataclass(frozen=True, eq=False)
class PlainEvaluator:
    """Full forward passes of one clip's grid points, in batches, in the dtype given.

    A flow that several points of a batch change alike is warped once.
    """

    clip: PreparedClip
    module: nn.Module
    tau: float  #: size of an atomic manipulation, in pixels
    device: torch.device
    batch: int  #: points of one forward pass; fewer where the device has no memory for them
    dtype: torch.dtype = torch.float32

    def in_float64(self) -> PlainEvaluator:
        """Return the same evaluation with a float64 copy of the model, one point at a time."""
        return PlainEvaluator(
            self.clip, copy.deepcopy(self.module).double(), self.tau, self.device, batch=1, dtype=torch.float64
        )

    @cached_property
    def frames(self) -> Tensor:
        """The unchanged clip, ``[T, 3, H, W]`` in [0, 1]."""
        return frames_tensor(self.clip, self.dtype).to(self.device)

    @cached_property
    def flow(self) -> Tensor:
        """The clip's flow, ``[T-1, 2, H, W]`` in pixels."""
        return torch.tensor(self.clip.flow).to(self.device, self.dtype)

    @cached_property
    def index(self) -> Tensor:
        """Coordinate that moves each flow entry, counted within its flow, ``[T-1, 2, H, W]``."""
        offsets = self.clip.coordinate_offsets[:-1, None, None, None]
        return torch.tensor(self.clip.coordinate_index - offsets).to(self.device)

    @cached_property
    def _batches(self) -> Halving:
        return Halving(self.batch, "points")

    @cached_property
    def composed(self) -> ComposedFrames:
        """What the clip's changed frames are put together with."""
        return ComposedFrames(self.clip.labels, self.device)

    def logits(self, points: Sequence[Point]) -> Logits:
        """Logits ``[B, C]`` of ``B`` grid points; raises NumericalError when one is NaN or infinite."""

        def evaluate(part: slice) -> Logits:
            clips = self.manipulated(dense(points[part], len(self.clip.coordinate_sizes)))
            logits: Logits = self.module(clips).double().cpu().numpy()
            return logits

        # Not inference mode: tensors cached here are differentiated by margin_gradient later.
        with torch.no_grad():
            return finite(np.concatenate(self._batches.run(len(points), evaluate)))

    def manipulated(self, moves: npt.NDArray[np.int16]) -> Tensor:
        """Build the manipulated clips ``[B, T, 3, H, W]`` of dense grid points ``[B, J]``."""
        clips = self.frames.repeat(len(moves), 1, 1, 1, 1)
        offsets = self.clip.coordinate_offsets
        for t in range(len(self.clip.flow)):
            variants, which = np.unique(moves[:, offsets[t] : offsets[t + 1]], axis=0, return_inverse=True)
            if variants.any():
                changed = self.variants(t, variants)
                clips[:, t + 1] = changed[torch.from_numpy(which.reshape(-1)).to(self.device)]
        return clips

    def margin_gradient(self, point: Point, label: int) -> tuple[float, npt.NDArray[np.float64]]:
        """Margin of class ``label`` at a grid point, and its gradient ``[J]`` per atomic manipulation."""
        moves = torch.zeros(len(self.clip.coordinate_sizes), dtype=self.dtype, device=self.device)
        for coordinate, value in point:
            moves[coordinate] = value
        moves.requires_grad_()
        frames = [self.frames[0]]
        offsets = self.clip.coordinate_offsets
        with torch.enable_grad():
            for t in range(len(self.clip.flow)):
                steps = moves[int(offsets[t]) : int(offsets[t + 1])] * self.tau
                frames.append(self._frame(t, steps[self.index[t]]))
            # cuDNN refuses to differentiate recurrent layers in eval mode; its generic path does not.
            with torch.backends.cudnn.flags(enabled=False):
                logits = self.module(torch.stack(frames)[None])[0]
                others = torch.cat([logits[:label], logits[label + 1 :]])
                margin = logits[label] - others.max()
                (gradient,) = torch.autograd.grad(margin, moves)
        return float(margin.detach()), finite(gradient.double().cpu().numpy())

    def variants(self, t: int, changes: npt.NDArray[np.int16]) -> Tensor:
        """Frame t+1 ``[U, 3, H, W]`` under changes ``[U, K]`` of flow t, by local coordinate."""
        return self.composed.variants(t, changes, self._uniform)

    def _uniform(self, t: int, steps: npt.NDArray[np.int64]) -> Tensor:
        """Frame t+1 ``[P, 3, H, W]`` when every pixel of flow t is changed by the steps ``[P, 2]``."""
        # The product is formed in float64, so float32 deltas are the float64 ones rounded once.
        delta = torch.from_numpy(steps * self.tau).to(self.device, self.dtype)[:, :, None, None]
        return self._frame(t, delta.expand(-1, -1, *self.flow.shape[-2:]))

    def _frame(self, t: int, delta: Tensor) -> Tensor:
        """Frame t+1 under changes ``[..., 2, H, W]`` of flow t, in pixels."""
        return manipulated_frame(self.frames[t], self.frames[t + 1], self.flow[t], delta)


def dense(points: Sequence[Point], coordinates: int) -> npt.NDArray[np.int16]:
    """Write sparse grid points as rows ``[B, J]``."""
    moves = np.zeros((len(points), coordinates), dtype=np.int16)
    for row, point in enumerate(points):
        for coordinate, value in point:
            moves[row, coordinate] = value
    return moves


def margins(logits: Logits, label: int) -> npt.NDArray[np.float64]:
    """Margins ``[B]``: logit of ``label`` minus the greatest other logit."""
    others = np.delete(logits, label, axis=1).max(axis=1)
    return np.asarray(logits[:, label] - others)


def finite(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return the values; raise NumericalError when one is NaN or infinite, for that is never a verdict."""
    if not np.isfinite(values).all():
        raise NumericalError("the model gave NaN or infinity for a manipulated clip")
    return values
