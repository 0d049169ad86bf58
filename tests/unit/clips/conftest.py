"""Holds the video files that the tests of decoding and preparing clips write for themselves."""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from common.jobspec import SamplingSpec

WriteVideo = Callable[..., Path]


def moving_frames(count: int, height: int = 48, width: int = 64) -> np.ndarray:
    """Smooth RGB texture that moves one pixel to the right per frame, brighter in red from frame to frame."""
    texture = np.random.default_rng(7).integers(0, 256, (height, width), dtype=np.uint8)
    texture = cv2.GaussianBlur(texture, (0, 0), 2.5)
    texture = cv2.normalize(texture, None, 20, 200, cv2.NORM_MINMAX)
    frames = np.stack([np.repeat(np.roll(texture, t, axis=1)[:, :, None], 3, axis=2) for t in range(count)])
    frames[:, :, :, 0] = (np.arange(count) * 5)[:, None, None]
    return frames


@pytest.fixture
def write_video(tmp_path: Path) -> WriteVideo:
    """Return a function that writes ``count`` frames with OpenCV and gives the file's path."""

    def write(count: int = 24, name: str = "clip.avi", codec: str = "MJPG", height: int = 48, width: int = 64) -> Path:
        path = tmp_path / name
        writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*codec), 25, (width, height))
        assert writer.isOpened()
        for frame in moving_frames(count, height, width):
            writer.write(np.ascontiguousarray(frame[:, :, ::-1]))
        writer.release()
        return path

    return write


@pytest.fixture
def sampling() -> SamplingSpec:
    """Eight frames of 32 by 24 pixels, spread over the video."""
    return SamplingSpec(frames=8, height=24, width=32)


def _chunk(tag: bytes, body: bytes) -> bytes:
    return tag + struct.pack("<I", len(body)) + body + b"\0" * (len(body) % 2)


def mjpeg_avi(images: list[np.ndarray | None], claimed_frames: int, period: int = 40000, rate: int = 25) -> bytes:
    """Build an AVI by hand: its header claims the first image's size and ``claimed_frames``, whatever follows.

    None is a dropped frame. ``period`` is the file's microseconds a frame, ``rate`` the stream's frames a second.
    """
    height, width = images[0].shape[:2]
    header = struct.pack("<14I", period, 0, 0, 0x10, claimed_frames, 0, 1, 0, width, height, 0, 0, 0, 0)
    stream = b"vidsMJPG" + struct.pack(
        "<10I4H", 0, 0, 0, 1, rate, 0, claimed_frames, 0, 2**32 - 1, 0, 0, 0, width, height
    )
    pixels = struct.pack("<IiiHH4s5I", 40, width, height, 1, 24, b"MJPG", width * height * 3, 0, 0, 0, 0)
    frames = [_chunk(b"00dc", b"" if image is None else cv2.imencode(".jpg", image)[1].tobytes()) for image in images]
    index, offset = b"", 4
    for frame in frames:
        index += b"00dc" + struct.pack("<3I", 16, offset, len(frame) - 8)
        offset += len(frame)
    stream_list = _chunk(b"LIST", b"strl" + _chunk(b"strh", stream) + _chunk(b"strf", pixels))
    header_list = _chunk(b"LIST", b"hdrl" + _chunk(b"avih", header) + stream_list)
    return _chunk(b"RIFF", b"AVI " + header_list + _chunk(b"LIST", b"movi" + b"".join(frames)) + _chunk(b"idx1", index))


@pytest.fixture
def write_mjpeg_avi(tmp_path: Path) -> Callable[..., Path]:
    """Return a function that writes a hand-made AVI and gives its path."""

    def write(images: list[np.ndarray | None], claimed_frames: int, **times: int) -> Path:
        path = tmp_path / "handmade.avi"
        path.write_bytes(mjpeg_avi(images, claimed_frames, **times))
        return path

    return write
