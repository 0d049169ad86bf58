"""Gives margins of real changes of a clip's flow, and their gradients, in batches: what searches by gradient ask for.

A change is one number of pixels for each coordinate, spread over its region; grid points are the multiples of τ.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import assert_never

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from common.vocab import Norm
from worker.halving import Halving
from worker.plain import PlainEvaluator, finite
from worker.warp import warp

#: Pixels of the clips of one batch, at most: a real-size encoder keeps about 2 kB for each to find gradients.
_PIXELS = 2**21

Vector = npt.NDArray[np.float64]
Rows = npt.NDArray[np.float64]


def coordinate_scale(sizes: Sequence[int], norm: Norm) -> Vector:
    """What a coordinate's pixels are multiplied by, so that the distance is the plain norm, ``[J]``.

    ``sizes`` are the flow entries that each coordinate moves.
    """
    entries = np.array(sizes, dtype=np.float64)
    match norm:
        case Norm.L1:
            return entries
        case Norm.L2:
            return np.asarray(np.sqrt(entries))
        case Norm.LINF:
            return np.ones_like(entries)
        case _:
            assert_never(norm)


@dataclass(frozen=True, eq=False)
class RealMargins:
    """Margins of one clip's labelled class under real changes."""

    plain: PlainEvaluator
    label: int

    def in_float64(self) -> RealMargins:
        """Return the same margins, computed by a float64 copy of the model."""
        return RealMargins(self.plain.in_float64(), self.label)

    def leads(self, moves: Rows) -> Rows:
        """Leads ``[B, C]`` of the label over each class under changes ``[B, J]``, in logits; infinite over itself.

        The margin is the least of them. Raises NumericalError when a logit is NaN or infinite.
        """
        with torch.no_grad():
            parts = self._batches.run(
                len(moves), lambda part: self.logits(self._tensor(moves[part])).double().cpu().numpy()
            )
        return self._leads(finite(np.concatenate(parts)))

    def margins(self, moves: Rows) -> Vector:
        """Margins ``[B]`` under changes ``[B, J]``, in logits."""
        return np.asarray(self.leads(moves).min(axis=1))

    def gradients(self, moves: Rows, classes: npt.NDArray[np.int64]) -> tuple[Rows, Rows]:
        """Leads ``[B, C]`` under changes ``[B, J]``, and gradients ``[B, J]`` of the lead over one class each.

        A class below 0 stands for the one closest to the label. Raises NumericalError for a number that is not finite.
        """
        parts = self._batches.run(len(moves), lambda part: self._gradients(moves[part], classes[part]))
        leads, gradients = zip(*parts, strict=True)
        return np.concatenate(leads), np.concatenate(gradients)

    @cached_property
    def _batches(self) -> Halving:
        """Batches whose clips have no more pixels together than memory should allow for."""
        return Halving(max(1, _PIXELS // self.plain.frames[:, 0].numel()), "changes")

    def _gradients(self, moves: Rows, classes: npt.NDArray[np.int64]) -> tuple[Rows, Rows]:
        changes = self._tensor(moves).requires_grad_()
        # cuDNN refuses to differentiate recurrent layers in eval mode; its generic path does not.
        with torch.enable_grad(), torch.backends.cudnn.flags(enabled=False):
            logits = self.logits(changes)
            leads = self._leads(finite(logits.detach().double().cpu().numpy()))
            against = np.where(classes < 0, leads.argmin(axis=1), classes)
            rows = torch.arange(len(moves), device=changes.device)
            lead = logits[:, self.label] - logits[rows, torch.from_numpy(against).to(changes.device)]
            (gradient,) = torch.autograd.grad(lead.sum(), changes)
        return leads, finite(gradient.double().cpu().numpy())

    def _leads(self, logits: Rows) -> Rows:
        leads = logits[:, self.label, None] - logits
        leads[:, self.label] = np.inf
        return np.asarray(leads)

    def _tensor(self, moves: Rows) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(moves)).to(self.plain.device, self.plain.dtype)

    def logits(self, moves: Tensor) -> Tensor:
        """Logits ``[B, C]`` of the whole model under changes ``[B, J]``."""
        frames = self.plain.frames
        change = warp(frames[:-1], self.plain.flow + moves[:, self._index]) - self._unchanged
        changed = (frames[1:] + change).clamp(0, 1)
        logits: Tensor = self.plain.module(torch.cat([frames[:1].expand(len(moves), 1, -1, -1, -1), changed], dim=1))
        return logits

    @cached_property
    def _unchanged(self) -> Tensor:
        """Frames warped by the unchanged flow, ``[T-1, 3, H, W]``."""
        return warp(self.plain.frames[:-1], self.plain.flow)

    @cached_property
    def _index(self) -> Tensor:
        """Coordinate that moves each flow entry, ``[T-1, 2, H, W]``."""
        return torch.from_numpy(self.plain.clip.coordinate_index).to(self.plain.device)
