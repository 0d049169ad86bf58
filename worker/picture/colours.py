"""Decides the colours: one hue a direction of motion, on a pale picture, so that the change stands out."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]
Colour = tuple[int, int, int]

BACKGROUND: Colour = (252, 252, 250)
INK: Colour = (28, 30, 34)
FAINT: Colour = (110, 114, 122)
LINE: Colour = (206, 209, 214)
GOOD: Colour = (24, 120, 66)
BAD: Colour = (190, 38, 44)

#: Hue of a move to the right, in degrees; the others follow clockwise, as directions do on a screen.
_FIRST_HUE = 210.0
#: Share of a picture's contrast that is left where a flow change is drawn over it.
_CONTRAST = 0.4
#: How much a difference may be raised.
_FACTORS = (1, 2, 3, 4, 5, 8, 10, 15, 20, 30, 50, 80, 100, 200, 500)


def hue_colour(u: float, v: float) -> Colour:
    """Strong colour of one direction of motion (u to the right, v down), as RGB bytes."""
    red, green, blue = (255 * _colours(np.array([[u]]), np.array([[v]]), 0.72)[0, 0]).round()
    return int(red), int(green), int(blue)


def tint(frame: Array, delta: Array) -> Array:
    """Draw a flow change ``[2, H, W]`` (pixels) over a frame ``[H, W, 3]`` that is turned pale grey; RGB in [0, 1].

    The hue is the direction. Its strength is the size of the change against the greatest of this flow.
    """
    grey = 1.0 - _CONTRAST * (1.0 - frame.mean(axis=2, keepdims=True))
    size = np.hypot(delta[0], delta[1])
    strength = 0.55 * np.sqrt(size / max(float(size.max()), 1e-12))[..., None]
    drawn: Array = (1.0 - strength) * grey + strength * grey * _colours(delta[0], delta[1], 0.95)
    return drawn


def amplified(change: Array) -> tuple[Array, float]:
    """Show a change of frames (any shape, of [0, 1] values) around middle grey; also gives the factor it was raised by.

    The factor is a round one; it lets the strongest tenth of what changed reach full black or white.
    """
    sizes = np.abs(change[change != 0.0])
    strong = float(np.quantile(sizes, 0.9)) if sizes.size else 0.0
    room = 0.5 / max(strong, 1e-3)
    factor = float(max(step for step in _FACTORS if step <= max(room, 1.0)))
    return 0.5 + factor * change, factor


def _colours(u: Array, v: Array, value: float) -> Array:
    hue = (np.degrees(np.arctan2(v, u)) + _FIRST_HUE) % 360.0
    parts = [hue, np.full_like(hue, 0.9), np.full_like(hue, value)]
    return np.asarray(cv2.cvtColor(np.stack(parts, axis=-1).astype(np.float32), cv2.COLOR_HSV2RGB), dtype=np.float64)
