"""Renders the demo dataset: one small shape per clip, whose direction of motion alone decides the class.

``python -m worker.demo.render OUT --per-class N --seed S`` writes it as real AVI files in UCF101's folder layout.
"""

from __future__ import annotations

import argparse
import math
from pathlib import Path
from types import MappingProxyType
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from common.errors import InputError

Frames = NDArray[np.uint8]  #: [T, H, W, 3], RGB

SIZE: Final = 64  #: height and width of a frame, in pixels
LENGTH: Final = 24  #: frames per video
_FPS: Final = 12
_GROUPS: Final = 25  # UCF101's number of groups per class.
_MAX_PER_CLASS: Final = 99 * _GROUPS  # UCF101 writes group and clip with two digits.

#: Direction of motion of every class: degrees, 0 = right, 90 = down (image coordinates).
DIRECTIONS: Final = MappingProxyType({"MoveDown": 90.0, "MoveLeft": 180.0, "MoveRight": 0.0, "MoveUp": 270.0})

_TILT: Final = 30.0  # The greatest deviation from the class's direction, in degrees.
_SPEED: Final = (0.12, 0.36)  # Pixels per frame: so slow that a shake of a few frames can outweigh the motion.
_RADIUS: Final = (5.0, 9.0)  # Pixels from a shape's centre to its corners.
_SUBPIXEL_BITS: Final = 8  # Fractional bits of the corner positions given to OpenCV.


def render_clip(label: str, rng: np.random.Generator) -> Frames:
    """Draw one video of class ``label``: uint8 ``[24, 64, 64, 3]``, RGB.

    The middle of the path is drawn from the same square for all classes, so that no single frame shows the class.
    """
    angle = math.radians(DIRECTIONS[label] + rng.uniform(-_TILT, _TILT))
    step = rng.uniform(*_SPEED) * np.array([math.cos(angle), math.sin(angle)])
    middle = rng.uniform(0.3 * SIZE, 0.7 * SIZE, size=2)
    corners = _corners(rng)
    background = _background(rng)
    colour = _colour_unlike(background, rng)
    clip = np.empty((LENGTH, SIZE, SIZE, 3), dtype=np.uint8)
    for t in range(LENGTH):
        points = corners + middle + (t - (LENGTH - 1) / 2) * step
        fixed = np.round(points * 2**_SUBPIXEL_BITS).astype(np.int32)
        frame = background.copy()
        clip[t] = cv2.fillPoly(frame, [fixed], colour, lineType=cv2.LINE_AA, shift=_SUBPIXEL_BITS)
    return clip


def render_dataset(out: Path, *, per_class: int, seed: int) -> list[tuple[Path, str]]:
    """Write ``per_class`` videos of every class below ``out``; give their paths and labels.

    The files are ``<Class>/v_<Class>_gNN_cNN.avi`` (MJPEG). The same seed gives the same videos, and more videos per
    class only add to them.

    Raises InputError when ``per_class`` is not in 1..2475 or a file cannot be written.
    """
    if not 1 <= per_class <= _MAX_PER_CLASS:
        raise InputError("--per-class", f"must be between 1 and {_MAX_PER_CLASS} (given: {per_class})")
    written = []
    for number, label in enumerate(DIRECTIONS):
        folder = out / label
        folder.mkdir(parents=True, exist_ok=True)
        for i in range(per_class):
            path = folder / f"v_{label}_g{i % _GROUPS + 1:02d}_c{i // _GROUPS + 1:02d}.avi"
            _write_video(path, render_clip(label, np.random.default_rng([seed, number, i])))
            written.append((path, label))
    return written


def main() -> None:
    """Render the dataset that the command line asks for."""
    parser = argparse.ArgumentParser(description="Render the demo dataset of moving shapes.")
    parser.add_argument("out", type=Path, help="folder to write to")
    parser.add_argument("--per-class", type=int, default=4, help="videos per class (default 4)")
    parser.add_argument("--seed", type=int, default=0, help="seed of everything random (default 0)")
    options = parser.parse_args()
    render_dataset(options.out, per_class=options.per_class, seed=options.seed)


def _corners(rng: np.random.Generator) -> NDArray[np.float64]:
    """Give a triangle, square or 24-gon (a disc to the eye) around the origin: ``[corners, 2]`` as (x, y)."""
    count = int(rng.choice([3, 4, 24]))
    angles = rng.uniform(0, 2 * math.pi) + np.arange(count) * (2 * math.pi / count)
    return rng.uniform(*_RADIUS) * np.stack([np.cos(angles), np.sin(angles)], axis=1)


def _background(rng: np.random.Generator) -> NDArray[np.uint8]:
    """Give a smooth random texture of middle brightness: uint8 ``[64, 64, 3]``."""
    coarse = rng.uniform(70, 150, size=(8, 8, 3)).astype(np.float32)
    smooth = cv2.resize(coarse, (SIZE, SIZE), interpolation=cv2.INTER_CUBIC)
    return np.clip(smooth, 0, 255).astype(np.uint8)


def _colour_unlike(background: NDArray[np.uint8], rng: np.random.Generator) -> tuple[float, ...]:
    """Draw colours until one stands out from the background's mean."""
    while True:
        colour = rng.uniform(0, 255, size=3)
        if np.abs(colour - background.mean(axis=(0, 1))).mean() > 70:
            return tuple(float(round(value)) for value in colour)


def _write_video(path: Path, frames: Frames) -> None:
    writer = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, cv2.VideoWriter.fourcc(*"MJPG"), _FPS, (SIZE, SIZE))
    if not writer.isOpened():
        raise InputError(str(path), "this video cannot be written here")
    for frame in frames:
        writer.write(cv2.cvtColor(frame, cv2.COLOR_RGB2BGR))
    writer.release()


if __name__ == "__main__":
    main()
