"""Decides which pictures a report shows of a clip: sprites, whose tiles are the clip's frames, row by row."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from common.errors import InputError
from worker.clip import PreparedClip
from worker.picture.colours import Array, amplified
from worker.picture.panel import flow_panel
from worker.picture.pen import Picture
from worker.picture.regions import region_panel
from worker.picture.scene import Scene

#: Pixels that one sprite may have; frames of a clip that has more are made smaller.
MOST_PIXELS = 1_500_000
#: How pictures are written, by the ending of their files. Frames are the evidence: PNG loses nothing, in a fifth of the
#: time that WebP without loss takes. Drawings over them may lose a little.
_WRITTEN = {".png": [cv2.IMWRITE_PNG_COMPRESSION, 6], ".webp": [cv2.IMWRITE_WEBP_QUALITY, 90]}
#: Height from which arrows and numbers are readable, in pixels.
_READABLE = 192


@dataclass(frozen=True)
class Sprite:
    """A written sprite: ``tiles`` of ``width`` by ``height`` pixels, ``columns`` in a row."""

    file: str
    tiles: int
    columns: int
    width: int
    height: int


def draw_clip(clip: PreparedClip, folder: Path) -> dict[str, Any]:
    """Draw a clip as it is, and its regions; the answer is strict JSON. Raises InputError where that fails.

    Where the regions are the same in every flow, ``regions`` has one tile; a tile a frame otherwise, whose first is
    blank, since no flow leads to the first frame.
    """
    frames = clip.frames / 255.0
    same = bool((clip.labels == clip.labels[0]).all())
    least = _height(clip, 1 if same else len(frames))
    if same:
        panels = [region_panel(frames[len(frames) // 2], clip.labels[0], least)]
    else:
        panels = [region_panel(frame, labels, least) for frame, labels in zip(frames[1:], clip.labels, strict=True)]
        panels.insert(0, np.full_like(panels[0], 255))
    return {
        "frames": len(frames),
        "regions": [len(sizes) for sizes in clip.region_sizes],
        "sprites": {
            "original": vars(_write([_bytes(frame) for frame in frames], folder / "original.png")),
            "regions": vars(_write(panels, folder / "regions.webp")),
        },
    }


def draw_change(scene: Scene, folder: Path) -> dict[str, Any]:
    """Draw what a witness does to a clip: the changed frames, the difference, and the change of flow."""
    difference, factor = amplified(scene.changed - scene.original)
    least = _height(scene.clip, len(scene.original))
    moved = [flow_panel(scene, frame, least) for frame in range(len(scene.original))]
    return {
        "factor": factor,
        "changed_frames": [flow + 2 for flow in scene.flows],
        "sprites": {
            "changed": vars(_write([_bytes(frame) for frame in scene.changed], folder / "changed.png")),
            "difference": vars(_write([_bytes(frame) for frame in difference], folder / "difference.png")),
            "moves": vars(_write(moved, folder / "moves.webp")),
        },
    }


def _height(clip: PreparedClip, tiles: int) -> int:
    """Height at which a tile is readable, as far as the sprite has room for it."""
    height, width = int(clip.frames.shape[1]), int(clip.frames.shape[2])
    room = math.isqrt(MOST_PIXELS * height // (tiles * width))
    # Frames are enlarged a whole number of times: the last one that still has room.
    return max(1, min(_READABLE, room // height * height))


def _bytes(frame: Array) -> Picture:
    return np.round(255 * np.clip(frame, 0, 1)).astype(np.uint8)


def _write(tiles: Sequence[Picture], path: Path) -> Sprite:
    """Write tiles of one size, smaller where there are too many pixels."""
    height, width, _ = tiles[0].shape
    shrink = math.sqrt(min(1.0, MOST_PIXELS / (len(tiles) * height * width)))
    if shrink < 1:
        height, width = max(1, int(shrink * height)), max(1, int(shrink * width))
        smaller = (cv2.resize(tile, (width, height), interpolation=cv2.INTER_AREA) for tile in tiles)
        tiles = [np.asarray(tile, dtype=np.uint8) for tile in smaller]
    columns = math.ceil(math.sqrt(len(tiles)))
    rows = math.ceil(len(tiles) / columns)
    sheet = np.zeros((rows * height, columns * width, 3), np.uint8)
    for number, tile in enumerate(tiles):
        top, left = number // columns * height, number % columns * width
        sheet[top : top + height, left : left + width] = tile
    done, data = cv2.imencode(path.suffix, cv2.cvtColor(sheet, cv2.COLOR_RGB2BGR), _WRITTEN[path.suffix])
    if not done:
        raise InputError("--out", f"{path}: cannot be encoded")
    try:
        path.write_bytes(data.tobytes())
    except OSError as error:
        raise InputError("--out", f"{path}: cannot be written ({error.strerror})") from error
    return Sprite(path.name, len(tiles), columns, width, height)
