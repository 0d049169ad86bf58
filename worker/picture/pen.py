"""Decides how text and arrows are drawn into a picture: always whole, never beyond the room they have."""

from __future__ import annotations

import math
from functools import lru_cache

import cv2
import numpy as np
import numpy.typing as npt

from worker.picture.colours import INK, Colour

Picture = npt.NDArray[np.uint8]  #: RGB, ``[H, W, 3]``

_FONT = cv2.FontFace("sans")
#: Below this a text is cut short rather than written smaller.
_SMALLEST = 11
_ELLIPSIS = "…"


def write(picture: Picture, text: str, at: tuple[int, int], room: int, size: int, colour: Colour = INK) -> None:
    """Write one line, left end and baseline at ``at`` (x, y), in at most ``room`` pixels.

    A text that is too long is written smaller, down to a readable size, and then cut short.
    """
    while size > _SMALLEST and text_width(text, size) > room:
        size -= 1
    if text_width(text, size) > room:
        while text and text_width(text + _ELLIPSIS, size) > room:
            text = text[:-1]
        text += _ELLIPSIS
    weight = 600 if size >= 15 else 400
    cv2.putText(picture, text, at, colour, _FONT, size, weight)


@lru_cache(maxsize=4096)
def text_width(text: str, size: int) -> int:
    """Pixels that a line of text takes."""
    _, _, width, _ = cv2.getTextSize((0, 0), text, (0, 0), _FONT, size, 600 if size >= 15 else 400)
    return int(width)


def arrow(picture: Picture, middle: tuple[float, float], u: float, v: float, colour: Colour) -> None:
    """Draw an arrow of the vector (u, v), in pixels of the picture, around its middle."""
    x, y = middle
    start, end = (round(x - u / 2), round(y - v / 2)), (round(x + u / 2), round(y + v / 2))
    tip = min(0.5, 8.0 / max(math.hypot(u, v), 1.0))
    # A white seam keeps arrows readable on any frame.
    for ink, thickness in (((255, 255, 255), 4), (colour, 2)):
        cv2.arrowedLine(picture, start, end, ink, thickness, cv2.LINE_AA, 0, tip)


def outline(picture: Picture, mask: npt.NDArray[np.bool_], scale: int, colour: Colour) -> None:
    """Draw the border of a region ``[H, W]`` into a picture that is ``scale`` times as large."""
    large = np.repeat(np.repeat(mask.astype(np.uint8), scale, axis=0), scale, axis=1)
    contours, _ = cv2.findContours(large, cv2.RETR_LIST, cv2.CHAIN_APPROX_SIMPLE)
    cv2.drawContours(picture, contours, -1, colour, 2, cv2.LINE_AA)
