"""Decides how a witness's video is written: for browsers where this machine can, as Motion JPEG otherwise."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2

from common.errors import InputError
from worker.picture.pen import Picture

#: Few enough to follow a change of a single frame.
FRAMES_PER_SECOND = 4.0
#: Codecs and their files in order of preference: browsers play WebM, every player plays Motion JPEG.
CODECS = (("VP80", ".webm"), ("VP90", ".webm"), ("MJPG", ".avi"))


def write_video(frames: Sequence[Picture], path: Path) -> Path:
    """Write frames of one size as a video; the ending is added to ``path`` by what can be written here.

    Gives the file's path. Raises InputError when no codec gives a video that reads back as many frames.
    """
    for codec, ending in CODECS:
        file = path.with_name(path.name + ending)
        if _write(frames, file, codec) and count_frames(file) == len(frames):
            return file
        file.unlink(missing_ok=True)
    raise InputError("--out", f"{path.parent}: no video can be written there")


def count_frames(path: Path) -> int:
    """Decode a whole video and count its frames; 0 for what is none."""
    capture, count = cv2.VideoCapture(str(path)), 0
    while capture.grab():
        count += 1
    capture.release()
    return count


def _write(frames: Sequence[Picture], path: Path, codec: str) -> bool:
    height, width, _ = frames[0].shape
    fourcc = cv2.VideoWriter.fourcc(*codec)
    writer = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, fourcc, FRAMES_PER_SECOND, (width, height))
    if not writer.isOpened():
        return False
    for frame in frames:
        writer.write(cv2.cvtColor(frame, cv2.COLOR_RGB2BGR))
    writer.release()
    return True
