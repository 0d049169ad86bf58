"""Decides which pixels of each flow move together, for every kind of partition."""

from __future__ import annotations

from typing import assert_never

import numpy as np
import numpy.typing as npt

from common.features import Partition, PartitionKind
from worker.features.salient import salient_labels
from worker.features.superpixels import superpixel_labels

Labels = npt.NDArray[np.int32]


def label_regions(
    partition: Partition, flow: npt.NDArray[np.float32], saliency: npt.NDArray[np.float64] | None = None
) -> Labels:
    """Label the pixels of each flow with the region they belong to.

    Parameters
    ----------
    partition : Partition
        How to divide; ``global``, ``grid`` and ``pixel`` look at the size only, ``superpixel`` at the flow.
    flow : float32 ``[T-1, 2, H, W]``
        In pixels.
    saliency : float64 ``[T-1, H, W]``
        How much each pixel's flow moves the margin; needed for ``saliency`` only.

    Returns
    -------
    int32 ``[T-1, H, W]``; flow t uses the labels ``0 .. K_t - 1``, each at least once.

    Raises
    ------
    InputError : frames of this size cannot be divided like this.

    """
    steps, _, height, width = flow.shape
    partition.check(height, width)
    match partition.kind:
        case PartitionKind.GLOBAL:
            return np.zeros((steps, height, width), np.int32)
        case PartitionKind.GRID:
            return _every_step(_grid(partition.rows, partition.columns, height, width), steps)
        case PartitionKind.PIXEL:
            return _every_step(np.arange(height * width, dtype=np.int32).reshape(height, width), steps)
        case PartitionKind.SALIENCY:
            if saliency is None:
                raise ValueError(f"{partition} needs the saliency of each pixel")
            return np.stack([salient_labels(field, partition.regions) for field in saliency])
        case PartitionKind.SUPERPIXEL:
            return np.stack([superpixel_labels(field, partition.regions) for field in flow])
        case _:
            assert_never(partition.kind)


def region_sizes(labels: Labels) -> list[list[int]]:
    """Count the pixels of each region, per flow: ``sizes[t][k] = |R_{t,k}|``."""
    return [np.bincount(step.ravel()).tolist() for step in labels]


def _grid(rows: int, columns: int, height: int, width: int) -> Labels:
    """Near-equal rectangles in reading order: heights differ by at most one pixel, and so do widths."""
    row_of = np.arange(height, dtype=np.int32) * rows // height
    column_of = np.arange(width, dtype=np.int32) * columns // width
    return np.asarray(row_of[:, None] * columns + column_of[None, :], dtype=np.int32)


def _every_step(labels: Labels, steps: int) -> Labels:
    return np.tile(labels, (steps, 1, 1))
