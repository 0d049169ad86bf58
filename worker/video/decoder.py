"""Decodes one video within strict limits: the child process ``python -m worker.video.decoder``.

It must import neither torch nor anything that holds a secret, for it reads untrusted bytes. Limits are set before
OpenCV is loaded. The clip's frames go to standard output as bare RGB bytes; a refusal is one line on standard error
and the exit status REFUSED.

All frames are read in a single pass and resized at once, and only resized frames are kept: the number of frames is
only known at the end (containers lie about it), and a second pass over the same file may decode differently.
"""

from __future__ import annotations

import os
import resource
import sys
from collections.abc import Iterator
from decimal import Decimal
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from worker.video.container import has_invented_times, truncation
from worker.video.refused import RefusedError
from worker.video.sampling import frames_needed, sample_indices
from worker.video.timing import at_pauses, seconds

REFUSED = 3

CPU_SECONDS = 60

# The interpreter, OpenCV and FFmpeg's own buffers, on top of the frames that are kept.
WORKING_BYTES = 2 << 30

# Only local files, and only real video containers: no playlists, image sequences, text "videos" or concatenations,
# which could name other files.
FFMPEG_OPTIONS = "protocol_whitelist;file|format_whitelist;avi,mov,matroska,webm,mpeg,mpegts,mpegvideo,asf,flv,ogg"

Frame = npt.NDArray[np.uint8]

_NO_FRAME = "has no frame that FFmpeg can decode"


def set_limits(max_bytes: int, spent_seconds: int = 0) -> None:
    """Limit this process's processor time and memory, and forbid core dumps and file output.

    ``spent_seconds`` of processor time were spent before, on other videos.
    """
    limits = {
        resource.RLIMIT_CPU: CPU_SECONDS + spent_seconds,
        resource.RLIMIT_AS: max_bytes + WORKING_BYTES,
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_FSIZE: 0,
    }
    for kind, limit in limits.items():
        _, hard = resource.getrlimit(kind)
        soft = limit if hard == resource.RLIM_INFINITY else min(limit, hard)
        # Only the soft limit is set: passing it raises a signal that names the cause, where the hard one just kills.
        resource.setrlimit(kind, (soft, hard))


def read_frames(path: Path, height: int, width: int, max_bytes: int) -> Iterator[tuple[Frame, float]]:
    """Read a video's frames as RGB, each ``[height, width, 3]`` with its timestamp in milliseconds, as OpenCV has it.

    Raises RefusedError when nothing can be decoded, when the frame size changes on the way, or when the frames read,
    in the video's or the clip's size, exceed ``max_bytes``.
    """
    # Loaded late, so that the limits already hold while its libraries start.
    import cv2

    capture, claimed = _open(path)
    _check_bytes(claimed, max_bytes)
    count, shape = 0, None
    while True:
        read, image = capture.read()
        if not read:
            break
        # OpenCV 5.0 scales frames of another size to the size of the first; a build that does not must not pass.
        if shape is not None and image.shape != shape:
            raise RefusedError(f"changes its frame size from {_size(shape)} to {_size(image.shape)} on the way")
        count, shape = count + 1, image.shape
        _check_bytes(count * max(image.nbytes, height * width * 3), max_bytes)
        small = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)
        frame = np.asarray(cv2.cvtColor(small, cv2.COLOR_BGR2RGB), dtype=np.uint8)
        yield frame, capture.get(cv2.CAP_PROP_POS_MSEC)
    if count == 0:
        raise RefusedError(_NO_FRAME)


def count_frames(path: Path, max_bytes: int) -> int:
    """Count a video's frames by decoding them all, for what a container says of its number of frames may be wrong.

    Raises RefusedError when it is cut short, nothing can be decoded, or its frames exceed ``max_bytes``.
    """
    _check_whole(path)
    return sum(1 for _ in _grab(path, max_bytes))


def count_pauses(path: Path, max_bytes: int, frames: int, every: Decimal) -> int:
    """Count the frames a video has ``every`` seconds apart, up to ``frames`` of them.

    Raises RefusedError as ``count_frames`` does, and when its timestamps do not say which frames these are.
    """
    _check_whole(path)
    _check_times(path)
    times = ((None, seconds(time)) for time in _grab(path, max_bytes))
    return sum(1 for _ in islice(at_pauses(times, every), frames))


def sample_video(
    path: Path,
    frames: int,
    height: int,
    width: int,
    max_bytes: int,
    *,
    stride: int | None = None,
    every: Decimal | None = None,
) -> Frame:
    """Decode the clip ``[frames, height, width, 3]``; raise RefusedError with the reason when it cannot be had.

    The frames are ``stride`` frames apart, or ``every`` seconds, or spread evenly where neither is given.
    """
    _check_whole(path)
    read = read_frames(path, height, width, max_bytes)
    if every is not None:
        _check_times(path)
        images = list(islice(at_pauses(((image, seconds(time)) for image, time in read), every), frames))
        if len(images) < frames:
            raise RefusedError(f"has {_frames(len(images))} at --every {every:f}, {frames} are needed")
        return np.stack(images)
    needed = frames_needed(frames, stride)
    images = [image for image, _ in islice(read, None if stride is None else needed)]
    if len(images) < needed:
        raise RefusedError(f"has {_frames(len(images))}, {needed} are needed")
    return np.stack([images[i] for i in sample_indices(len(images), frames, stride)])


def _grab(path: Path, max_bytes: int) -> Iterator[float]:
    """Decode a video's frames without keeping them; gives the timestamp of each, in milliseconds."""
    import cv2

    capture, claimed = _open(path)
    count = 0
    while capture.grab():
        # Grabbing decodes; that the result can be had as a picture too is asked of the first frame only.
        if count == 0 and not capture.retrieve()[0]:
            break
        count += 1
        _check_bytes(count * claimed, max_bytes)
        yield capture.get(cv2.CAP_PROP_POS_MSEC)
    if count == 0:
        raise RefusedError(_NO_FRAME)


def _open(path: Path) -> tuple[Any, int]:
    """Open a video; returns what reads it, and the bytes of one of its frames, as its container says."""
    import cv2

    cv2.setNumThreads(1)
    capture = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG, [cv2.CAP_PROP_N_THREADS, 1])
    if not capture.isOpened():
        raise RefusedError("is not a video that FFmpeg can open")
    return capture, int(capture.get(cv2.CAP_PROP_FRAME_WIDTH)) * int(capture.get(cv2.CAP_PROP_FRAME_HEIGHT)) * 3


def _check_whole(path: Path) -> None:
    with path.open("rb") as file:
        incomplete = truncation(file, path.stat().st_size)
    if incomplete is not None:
        raise RefusedError(incomplete)


def _check_times(path: Path) -> None:
    with path.open("rb") as file:
        if has_invented_times(file):
            raise RefusedError("has no frame rate in its header, and so no timestamps, which --every needs")


def _check_bytes(size: int, max_bytes: int) -> None:
    if size > max_bytes:
        raise RefusedError(f"is too large: it decodes to more than {max_bytes} bytes (FLOWCERT_MAX_CLIP_BYTES)")


def _frames(count: int) -> str:
    return f"{count} frame" if count == 1 else f"{count} frames"


def _size(shape: tuple[int, ...]) -> str:
    return f"{shape[1]}x{shape[0]}"


def main(arguments: list[str]) -> int:
    """Decode as the command line says: ``path frames stride-or-0 every-or-0 height width max_bytes``.

    Returns the exit status.
    """
    path, every = Path(arguments[0]), Decimal(arguments[3])
    frames, stride, height, width, max_bytes = map(int, arguments[1:3] + arguments[4:])
    set_limits(max_bytes)
    os.environ["OPENCV_FFMPEG_CAPTURE_OPTIONS"] = FFMPEG_OPTIONS
    try:
        clip = sample_video(path, frames, height, width, max_bytes, stride=stride or None, every=every or None)
    except RefusedError as refusal:
        sys.stderr.write(f"{refusal}\n")
        return REFUSED
    except MemoryError:
        sys.stderr.write("needs more memory to decode than it is allowed\n")
        return REFUSED
    sys.stdout.buffer.write(clip.tobytes())
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
