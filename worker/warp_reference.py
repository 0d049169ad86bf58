"""Computes manipulated frames a second, independent way, in plain numpy float64; witnesses are replayed with it."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]


def reference_warp(frame: npt.ArrayLike, flow: npt.ArrayLike) -> Array:
    """``W(F, p)(x) = F(x - p(x))`` for one frame ``[3, H, W]`` and flow ``[2, H, W]`` in pixels, as a weighted sum."""
    image, motion = np.asarray(frame, np.float64), np.asarray(flow, np.float64)
    _, height, width = image.shape
    y, x = np.indices((height, width), dtype=np.float64)
    x, y = np.clip(x - motion[0], 0.0, width - 1.0), np.clip(y - motion[1], 0.0, height - 1.0)
    result = np.zeros_like(image)
    for rows, row_share in _neighbours(y, height):
        for columns, column_share in _neighbours(x, width):
            result += image[:, rows, columns] * (row_share * column_share)
    return result


def reference_frame(
    previous: npt.ArrayLike, current: npt.ArrayLike, flow: npt.ArrayLike, delta: npt.ArrayLike
) -> Array:
    """``clip(F_{t+1} + (W(F_t, p + delta) - W(F_t, p)), 0, 1)`` for frames ``[3, H, W]`` and flows ``[2, H, W]``."""
    motion = np.asarray(flow, np.float64)
    change = reference_warp(previous, motion + np.asarray(delta, np.float64)) - reference_warp(previous, motion)
    return np.clip(np.asarray(current, np.float64) + change, 0.0, 1.0)


def _neighbours(position: Array, size: int) -> list[tuple[npt.NDArray[np.int64], Array]]:
    """Return the two whole positions around each position, with the share each has in the result."""
    low = np.floor(position).astype(np.int64)
    share = position - low
    return [(low, 1.0 - share), (np.minimum(low + 1, size - 1), share)]
