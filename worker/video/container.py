"""Decides from a container's own sizes whether a video file was cut short; FFmpeg would read such a file silently.

Sources: AVI/OpenDML are sequences of RIFF chunks (tag, 32-bit little-endian size); MP4/MOV are sequences of boxes
(32-bit big-endian size, type, and a 64-bit size when the first is 1; ISO/IEC 14496-12, section 4.2).
"""

from __future__ import annotations

import struct
from typing import BinaryIO

_MP4_FIRST_BOXES = (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip")


def truncation(file: BinaryIO, size: int) -> str | None:
    """Say how ``file`` of ``size`` bytes is incomplete; None when it is whole or of another container."""
    file.seek(0)
    head = file.read(12)
    if head[:4] == b"RIFF" and head[8:] == b"AVI ":
        return _avi_truncation(file, size)
    if head[4:8] in _MP4_FIRST_BOXES:
        return _mp4_truncation(file, size)
    return None


def _avi_truncation(file: BinaryIO, size: int) -> str | None:
    position = 0
    while position + 8 <= size:
        file.seek(position)
        tag, length = struct.unpack("<4sI", file.read(8))
        if tag != b"RIFF":
            return None
        end = position + 8 + length
        if end > size:
            return _cut_short(size, end)
        position = end + length % 2
    return None


def _mp4_truncation(file: BinaryIO, size: int) -> str | None:
    position, has_index = 0, False
    while position + 8 <= size:
        file.seek(position)
        length, kind = struct.unpack(">I4s", file.read(8))
        if not kind.isalnum():
            # Not a box but trailing bytes, which players ignore as well.
            break
        has_index |= kind == b"moov"
        if length == 0:
            position = size
        elif length == 1:
            wide = file.read(8)
            if len(wide) < 8:
                return _cut_short(size, position + 16)
            length = struct.unpack(">Q", wide)[0]
        if length >= 8:
            position += length
        elif position < size:
            return None
    if position > size:
        return _cut_short(size, position)
    return None if has_index else "is truncated: the moov index that makes it playable is missing"


def _cut_short(size: int, wanted: int) -> str:
    return f"is truncated: it has {size} bytes, but its own header promises {wanted}"
