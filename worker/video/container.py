"""Decides from a container's own headers what FFmpeg would hide: that a video was cut short, or has no frame rate.

Sources: AVI/OpenDML are sequences of RIFF chunks (tag, 32-bit little-endian size); MP4/MOV are sequences of boxes
(32-bit big-endian size, type, and a 64-bit size when the first is 1; ISO/IEC 14496-12, section 4.2).
"""

from __future__ import annotations

import re
import struct
from typing import BinaryIO

_MP4_FIRST_BOXES = (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip")

# An AVI's main header has a frame's microseconds; its video stream's has scale and rate, whose ratio is its seconds.
_AVI_PERIOD = re.compile(rb"avih.{4}(.{4})", re.DOTALL)
_AVI_RATE = re.compile(rb"strh.{4}vids.{16}(.{4})(.{4})", re.DOTALL)
_AVI_HEADER_BYTES = 1 << 16


def truncation(file: BinaryIO, size: int) -> str | None:
    """Say how ``file`` of ``size`` bytes is incomplete; None when it is whole or of another container."""
    file.seek(0)
    head = file.read(12)
    if head[:4] == b"RIFF" and head[8:] == b"AVI ":
        return _avi_truncation(file, size)
    if head[4:8] in _MP4_FIRST_BOXES:
        return _mp4_truncation(file, size)
    return None


def has_invented_times(file: BinaryIO) -> bool:
    """Whether ``file`` is an AVI whose headers give no time for a frame; FFmpeg then takes 25 a second, unasked."""
    file.seek(0)
    header = file.read(_AVI_HEADER_BYTES)
    if header[:4] != b"RIFF" or header[8:12] != b"AVI ":
        return False
    period, rate = _AVI_PERIOD.search(header), _AVI_RATE.search(header)
    nothing = bytes(4)
    return (period is None or period[1] == nothing) and rate is not None and nothing in rate.groups()


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
