"""Decides how the regions of a clip's flows look: each in a colour of its own, with its border and its number."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from worker.picture.colours import INK, Array
from worker.picture.panel import enlarge
from worker.picture.pen import Picture, text_width, write

#: Degrees between the hues of neighbouring numbers: the golden angle, so that no two of a few are alike.
_TURN = 137.508
#: Beyond so many regions of a flow there is no room for numbers, nor for borders.
_MOST_NUMBERS, _MOST_BORDERS = 100, 1000
_SIZE = 11  #: of the numbers, in pixels


def region_panel(frame: Array, labels: npt.NDArray[np.int32], least: int) -> Picture:
    """Draw the regions of one flow, ``[H, W]``, over the pale frame ``[H, W, 3]`` that it leads to."""
    count = int(labels.max()) + 1
    grey = 1.0 - 0.55 * (1.0 - frame.mean(axis=2, keepdims=True))
    panel = enlarge(grey * _hues(count)[labels], least)
    scale = panel.shape[0] // labels.shape[0]
    if count <= _MOST_BORDERS:
        large = labels.repeat(scale, axis=0).repeat(scale, axis=1)
        border = np.zeros(large.shape, np.bool_)
        border[1:] |= large[1:] != large[:-1]
        border[:, 1:] |= large[:, 1:] != large[:, :-1]
        panel[border] = INK
    if 1 < count <= _MOST_NUMBERS:
        for label in range(count):
            _number(panel, labels == label, scale, str(label + 1))
    return panel


def _hues(count: int) -> Array:
    """A pale colour for each label, RGB in [0, 1], ``[count, 3]``; white for one region alone."""
    hue = (_TURN * np.arange(count)) % 360.0
    pale = np.stack([hue, np.full(count, 0.0 if count == 1 else 0.35), np.ones(count)], axis=-1)
    rgb = cv2.cvtColor(pale[None].astype(np.float32), cv2.COLOR_HSV2RGB)
    return np.asarray(rgb[0], dtype=np.float64)


def _number(panel: Picture, mask: npt.NDArray[np.bool_], scale: int, text: str) -> None:
    """Write a region's number at the pixel of it that is nearest to its middle, where the region has the room."""
    rows, columns = np.nonzero(mask)
    nearest = int(np.argmin((rows - rows.mean()) ** 2 + (columns - columns.mean()) ** 2))
    width = text_width(text, _SIZE)
    if rows.size * scale * scale < 2 * width * _SIZE:
        return
    x = round(scale * (float(columns[nearest]) + 0.5) - width / 2)
    y = round(scale * (float(rows[nearest]) + 0.5) + _SIZE / 2)
    left = min(max(x, 0), panel.shape[1] - width)
    write(panel, text, (left, min(max(y, _SIZE), panel.shape[0] - 2)), width, _SIZE)
