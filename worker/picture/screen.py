"""Decides how one frame of a witness's video looks: original, changed and the change of flow, side by side."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np

from common.moves import brief
from worker.picture.colours import BACKGROUND, BAD, FAINT, GOOD, INK, LINE, Colour
from worker.picture.panel import PANEL, enlarge, flow_panel
from worker.picture.pen import Picture, write
from worker.picture.scene import Outcome, Scene

_MARGIN, _GAP = 24, 20
#: Above the panels: name, facts, and two lines of each panel's title. Below: the timeline and the moves.
_HEAD, _FOOT = 124, 84


@dataclass(frozen=True)
class _Layout:
    """Where things are, in pixels of the video."""

    height: int  #: of a panel
    width: int  #: of a panel
    slot: int  #: room of a panel and its title

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the video; even, as codecs want them."""
        height = _HEAD + self.height + _FOOT
        width = 2 * _MARGIN + 3 * self.slot + 2 * _GAP
        return height + height % 2, width + width % 2

    @property
    def room(self) -> int:
        """Width between the margins."""
        return self.size[1] - 2 * _MARGIN

    def left(self, panel: int) -> int:
        """Left side of a panel's slot."""
        return _MARGIN + panel * (self.slot + _GAP)


def screens(scene: Scene) -> Iterator[Picture]:
    """Draw the video's frames, one a frame of the clip; RGB ``[height, width, 3]``, all of one size."""
    height, width = enlarge(scene.original[0]).shape[:2]
    layout = _Layout(height, width, max(width, PANEL))
    for frame in range(len(scene.original)):
        yield _screen(scene, layout, frame)


def _screen(scene: Scene, layout: _Layout, frame: int) -> Picture:
    picture = np.full((*layout.size, 3), BACKGROUND, np.uint8)
    write(picture, scene.name, (_MARGIN, 34), layout.room, 18)
    write(picture, scene.facts, (_MARGIN, 58), layout.room, 14, FAINT)
    moved = frame - 1 in scene.flows
    _outcome(picture, layout, 0, "original", scene, scene.before)
    _outcome(picture, layout, 1, "changed", scene, scene.after)
    _title(picture, layout, 2, "change of flow", INK, f"flow {frame}: frame {frame} to {frame + 1}" if frame else "")
    _panel(picture, layout, 0, enlarge(scene.original[frame]), LINE)
    _panel(picture, layout, 1, enlarge(scene.changed[frame]), BAD if moved else LINE)
    _panel(picture, layout, 2, flow_panel(scene, frame), LINE)
    _timeline(picture, layout, scene, frame)
    said = brief(scene.moves_in(frame - 1)) if moved else "this frame is as it was"
    write(picture, said, (_MARGIN, layout.size[0] - 18), layout.room, 15 if moved else 14, INK if moved else FAINT)
    return picture


def _outcome(picture: Picture, layout: _Layout, panel: int, what: str, scene: Scene, outcome: Outcome) -> None:
    colour = GOOD if outcome.predicted == scene.label else BAD
    margin = f"margin of {scene.label} {outcome.margin:+.3g}".replace("-", "−")
    _title(picture, layout, panel, f"{what}: {outcome.predicted}", colour, margin)


def _title(picture: Picture, layout: _Layout, panel: int, title: str, colour: Colour, below: str) -> None:
    left = layout.left(panel)
    write(picture, title, (left, _HEAD - 30), layout.slot, 16, colour)
    write(picture, below, (left, _HEAD - 11), layout.slot, 13, FAINT)


def _panel(picture: Picture, layout: _Layout, panel: int, image: Picture, border: Colour) -> None:
    """Put an enlarged frame into the middle of its slot, with a border."""
    left = layout.left(panel) + (layout.slot - layout.width) // 2
    cv2.rectangle(picture, (left - 3, _HEAD - 3), (left + layout.width + 2, _HEAD + layout.height + 2), border, 3)
    picture[_HEAD : _HEAD + layout.height, left : left + layout.width] = image


def _timeline(picture: Picture, layout: _Layout, scene: Scene, frame: int) -> None:
    """Draw one cell a frame: changed ones in red, the one that is shown dark below."""
    count = len(scene.original)
    top = _HEAD + layout.height + 20
    label = f"frame {frame + 1} of {count}"
    write(picture, label, (_MARGIN, top + 12), 110, 14)
    first, room = _MARGIN + 118, layout.room - 118
    for number in range(count):
        left, right = first + room * number // count, first + room * (number + 1) // count
        gap = 2 if room >= 6 * count else 0
        colour = BAD if number - 1 in scene.flows else LINE
        cv2.rectangle(picture, (left, top), (max(left, right - 1 - gap), top + 12), colour, -1)
        if number == frame:
            cv2.rectangle(picture, (left, top + 16), (max(left, right - 1 - gap), top + 19), INK, -1)
