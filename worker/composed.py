"""Puts changed frames together, pixel by pixel, from warps of the whole frame by a few uniform changes of its flow.

A pixel of frame t+1 depends on its own region's two steps only. So the frame is warped once for each distinct pair of
steps, and a variant takes the pixels of each region from the frame of that region's pair: the same numbers as warping
every variant, at a fraction of the cost.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

Integers = npt.NDArray[np.int64]

#: Pairs of steps of one flow whose warps are kept for the next variants of the same flow.
MOST_KEPT = 64


class ComposedFrames:
    """Variants of a clip's frames.

    Parameters
    ----------
    labels : region of each pixel, ``[T-1, H, W]``.
    device : where its tensors are.

    """

    def __init__(self, labels: npt.NDArray[np.int32], device: torch.device) -> None:
        self._labels = labels
        self._device = device
        self._flow: int | None = None
        self._pairs = np.zeros(0, np.int64)
        self._frames = torch.empty(0)
        self._order = self._sizes = self._first = self._pairs

    def variants(self, t: int, changes: npt.NDArray[np.int16], warped: Callable[[int, Integers], Tensor]) -> Tensor:
        """Frame t+1 ``[U, 3, H, W]`` under changes ``[U, K]`` of flow t, by local coordinate.

        ``warped`` gives frame t+1 ``[P, 3, H, W]`` when all of flow t is changed by pairs of steps ``[P, 2]``.
        """
        steps = changes.astype(np.int64).reshape(len(changes), -1, 2)
        # One integer for a pair of steps of 16 bits each; that of no steps is 0.
        pairs = steps[..., 0] << 16 | steps[..., 1] & 0xFFFF
        self._provide(t, np.union1d(pairs, [0]), warped)
        frames, unchanged = self._frames, int(np.searchsorted(self._pairs, 0))
        variants = frames[unchanged].repeat(len(changes), 1, 1, 1)
        row, region = np.nonzero(pairs)
        count = self._sizes[region]
        # The pixels of all changed regions, one region after the other.
        place = np.arange(count.sum()) + np.repeat(self._first[region] - np.cumsum(count) + count, count)
        pixel = self._order[place]
        values = frames[0].numel()
        target = np.repeat(row * values, count) + pixel
        source = np.repeat(np.searchsorted(self._pairs, pairs[row, region]) * values, count) + pixel
        channels = torch.arange(frames.shape[1], device=self._device)[:, None] * frames[0, 0].numel()
        picked = frames.view(-1)[torch.from_numpy(source).to(self._device) + channels]
        variants.view(-1)[torch.from_numpy(target).to(self._device) + channels] = picked
        return variants

    def _provide(self, t: int, pairs: Integers, warped: Callable[[int, Integers], Tensor]) -> None:
        """Have the warps of flow t by these pairs, sorted; those of before are kept while they are few."""
        if t != self._flow:
            labels = self._labels[t].reshape(-1)
            self._flow, self._pairs, self._frames = t, pairs[:0], self._frames[:0]
            self._order = np.argsort(labels, kind="stable")
            self._sizes = np.bincount(labels).astype(np.int64)
            self._first = np.cumsum(self._sizes) - self._sizes
        if np.isin(pairs, self._pairs).all():
            return
        together = np.union1d(pairs, self._pairs)
        kept = together if len(together) <= MOST_KEPT else pairs
        steps = np.stack([kept >> 16, kept.astype(np.int16)], axis=1)
        # Only once they are there: a device out of memory is asked again, and must not be given other pairs' frames.
        self._frames = warped(t, steps).contiguous()
        self._pairs = kept
