"""Decides how one frame and one change of flow are enlarged: pixels as squares, regions with borders and arrows."""

from __future__ import annotations

import math

import cv2
import numpy as np
import numpy.typing as npt

from worker.picture.colours import Array, hue_colour, tint
from worker.picture.pen import Picture, arrow, outline
from worker.picture.scene import Scene

#: Least height of a panel, in pixels.
PANEL = 288
#: Pixels between arrows, and how much of them the longest arrow takes.
_SPACING, _LONGEST = PANEL / 8, 0.8
#: Share of the longest arrow that the shortest one has, so that small moves still show where they go.
_SHORTEST = 0.4
#: Regions of one flow that are outlined.
_MOST_ARROWS = 64


def enlarge(frame: Array, least: int = PANEL) -> Picture:
    """Draw a frame ``[H, W, 3]`` in [0, 1] a whole number of times as large, at least ``least`` pixels high."""
    height, width, _ = frame.shape
    scale = max(1, math.ceil(least / height))
    small = np.round(255 * np.clip(frame, 0, 1)).astype(np.uint8)
    return np.asarray(
        cv2.resize(small, (scale * width, scale * height), interpolation=cv2.INTER_NEAREST), dtype=np.uint8
    )


def flow_panel(scene: Scene, frame: int, least: int = PANEL) -> Picture:
    """Draw the change of the flow that leads to a frame (from 0) over the pale frame; only pale where there is none.

    The panel is at least ``least`` pixels high. Of many regions the most moved have arrows; all have their hue.
    """
    moves = scene.moves_in(frame - 1)
    delta = scene.delta[frame - 1] if moves else np.zeros_like(scene.delta[0])
    panel = enlarge(tint(scene.original[frame], delta), least)
    scale = panel.shape[0] // delta.shape[1]
    greatest = float(np.hypot(delta[0], delta[1]).max())
    strongest = sorted(moves, key=lambda move: -abs(move.pixels))
    for region in list({move.region: move for move in strongest}.values())[:_MOST_ARROWS]:
        mask = scene.mask(region)
        u, v = (float(part[mask][0]) for part in delta)
        colour = hue_colour(u, v)
        outline(panel, mask, scale, colour)
        length = math.hypot(u, v)
        share = _SHORTEST + (1 - _SHORTEST) * length / greatest
        anchors, spacing = _anchors(mask, scale)
        stretch = _LONGEST * spacing * share / length
        for anchor in anchors:
            arrow(panel, anchor, stretch * u, stretch * v, colour)
    return panel


def _anchors(mask: npt.NDArray[np.bool_], scale: int) -> tuple[list[tuple[float, float]], float]:
    """Points (x, y) of the enlarged frame at which a region's arrows stand, at least one, and the room of each."""
    rows, columns = np.nonzero(mask)
    top, left = int(rows.min()), int(columns.min())
    height, width = int(rows.max()) + 1 - top, int(columns.max()) + 1 - left
    down, across = (max(1, round(scale * size / _SPACING)) for size in (height, width))
    spread = [
        (left + (column + 0.5) * width / across, top + (row + 0.5) * height / down)
        for row in range(down)
        for column in range(across)
    ]
    inside = [(scale * x, scale * y) for x, y in spread if mask[int(y), int(x)]]
    room = max(scale * min(height / down, width / across), _SPACING / 2)
    # A region of scattered pixels may have none at these points: its first pixel then stands for it.
    return inside or [(scale * (float(columns[0]) + 0.5), scale * (float(rows[0]) + 0.5))], room
