"""Decides how the decoder process is started, limited and believed; everything that goes wrong is a ClipError."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import numpy.typing as npt

import worker
from common.errors import ClipError
from common.jobspec import SamplingSpec
from common.printable import is_printable, visible
from worker.video.decoder import CPU_SECONDS, REFUSED

WALL_SECONDS = 120.0

# OpenCV reads "%" as an image sequence and "!" as a pipeline. A network address cannot get through: Path joins its
# slashes and absolute() puts a directory in front.
_MAGIC = ("%", "!")

#: Bytes of a video file above which it is not even read: clips of minutes have a thousandth of them.
MOST_FILE_BYTES = 2**32


def run_decoder(
    path: Path, sampling: SamplingSpec, max_bytes: int, wall_seconds: float = WALL_SECONDS
) -> npt.NDArray[np.uint8]:
    """Decode the sampled frames of a video, uint8 RGB ``[T, H, W, 3]``, in a child process with limits.

    Raises ClipError, in one line that names the file, when it is missing, empty, truncated, no video, too short, too
    large (``max_bytes`` of decoded frames), or when the decoder crashes or takes longer than ``wall_seconds``.
    """
    check_file(path)
    shape = (sampling.frames, sampling.height, sampling.width, 3)
    expected = int(np.prod(shape))
    if expected > max_bytes:
        raise ClipError(str(path), f"is too large: the clip itself is {expected} bytes, {max_bytes} are allowed")
    status, output, message = _run(_command(path, sampling, max_bytes), expected, wall_seconds)
    if status is None:
        raise ClipError(str(path), f"took longer than {wall_seconds:g} s to decode")
    if status == REFUSED:
        raise ClipError(str(path), message)
    if status == -signal.SIGXCPU:
        raise ClipError(str(path), f"needs more than {CPU_SECONDS} s of processor time to decode")
    if status < 0:
        raise ClipError(str(path), f"the decoder was stopped by {signal.Signals(-status).name}")
    if status > 0 or len(output) != expected:
        raise ClipError(str(path), f"the decoder failed (status {status}): {message or 'no reason given'}")
    return np.frombuffer(output, dtype=np.uint8).reshape(shape).copy()


def check_file(path: Path) -> None:
    """Refuse what needs no decoder to be refused; raises ClipError."""
    # Written as escapes, to keep the message on one line.
    if not is_printable(str(path)):
        raise ClipError(ascii(str(path)), "has unprintable characters in its name; rename it")
    for magic in _MAGIC:
        if magic in str(path.absolute()):
            raise ClipError(str(path), f"has {magic!r} in its name, which OpenCV would interpret; rename it")
    try:
        if path.is_dir():
            raise ClipError(str(path), "is a directory, not a video file")
        if not path.is_file():
            raise ClipError(str(path), "does not exist or is not an ordinary file")
        size = path.stat().st_size
        if size == 0:
            raise ClipError(str(path), "is empty (0 bytes)")
        if size > MOST_FILE_BYTES:
            raise ClipError(str(path), f"is too large: it has {size} bytes, {MOST_FILE_BYTES} are allowed")
        with path.open("rb"):
            pass
    except OSError as error:
        raise ClipError(str(path), f"cannot be read: {error.strerror}") from error


def _command(path: Path, sampling: SamplingSpec, max_bytes: int) -> list[str]:
    every = 0 if sampling.every is None else f"{sampling.every:f}"
    numbers = (sampling.frames, sampling.stride or 0, every, sampling.height, sampling.width, max_bytes)
    # -P: a module lying in the current directory must not stand in for one of ours.
    return [sys.executable, "-P", "-m", "worker.video.decoder", str(path.absolute()), *map(str, numbers)]


def _run(command: list[str], expected: int, wall_seconds: float) -> tuple[int | None, bytes, str]:
    """Run the decoder; return its status (None: too slow), at most ``expected`` + 1 bytes and its last line."""
    with subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=_environment()
    ) as process:
        assert process.stdout is not None  # noqa: S101 - both are pipes, asked for above.
        assert process.stderr is not None  # noqa: S101
        expired = threading.Event()

        def expire() -> None:
            expired.set()
            process.kill()

        timer = threading.Timer(wall_seconds, expire)
        timer.daemon = True
        timer.start()
        try:
            # Bounded reads: a decoder taken over by its input cannot fill this process's memory.
            output = process.stdout.read(expected + 1)
            if len(output) > expected:
                process.kill()
            lines = process.stderr.read(4096).decode(errors="replace").strip().splitlines()
            status = process.wait()
        finally:
            timer.cancel()
            process.kill()
    return None if expired.is_set() else status, output, visible(lines[-1]) if lines else ""


def _environment() -> dict[str, str]:
    """Environment of the decoder: no credentials, one thread, and this very package first on its path."""
    kept = {name: os.environ[name] for name in ("PATH", "LD_LIBRARY_PATH", "LANG", "LC_ALL") if name in os.environ}
    root = str(Path(worker.__file__).resolve().parents[1])
    return kept | {
        "PYTHONPATH": root,
        "OMP_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
        "OPENCV_LOG_LEVEL": "SILENT",
        "OPENCV_FFMPEG_LOGLEVEL": "-8",
    }
