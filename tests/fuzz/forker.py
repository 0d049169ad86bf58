"""Decodes videos for the fuzzer, each in a fork of this process: the decoder's own code and limits, started faster.

Answers each line of standard input, the arguments of ``worker.video.decoder``, by a line: how the fork ended, how many
bytes it gave and their hash, its last words, and the memory and processor time it took.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import select
import signal
import sys
import time
import traceback

import cv2

from worker.entry import check_clips
from worker.video import decoder

#: Seconds until a decoder that hangs without using its processor time is killed.
WALL_SECONDS = 90.0
#: Bytes read of either stream.
_MOST_READ = 2**26


def _child(arguments: list[str], out: int, err: int) -> None:
    """Decode as the real process does; never returns."""
    os.dup2(out, 1)
    os.dup2(err, 2)
    status = 1
    try:
        status = _check(arguments[1:]) if arguments[0] == "check" else decoder.main(arguments)
        sys.stdout.flush()
    except BaseException:  # noqa: BLE001 - as the interpreter ends: with the traceback, and 1.
        traceback.print_exc()
    finally:
        with contextlib.suppress(Exception):
            sys.stderr.flush()
        os._exit(status)


def _check(arguments: list[str]) -> int:
    """Do what the check of a dataset does with one file: ``path max_bytes frames every-or-0``."""
    path, most, frames, every = arguments
    question = check_clips._Question(path=path, max_bytes=most, frames=frames, every=every if float(every) else None)
    decoder.set_limits(question.max_bytes)
    sys.stdout.write(json.dumps(check_clips.check(question)))
    return 0


def decode(arguments: list[str]) -> dict[str, object]:
    """Fork, decode, and tell what came of it."""
    pipes = [os.pipe(), os.pipe()]
    pid = os.fork()
    if pid == 0:
        _child(arguments, pipes[0][1], pipes[1][1])
    for _, write in pipes:
        os.close(write)
    streams, read = {pipes[0][0]: bytearray(), pipes[1][0]: bytearray()}, [pipes[0][0], pipes[1][0]]
    limit, late = time.monotonic() + WALL_SECONDS, False
    while read:
        ready, _, _ = select.select(read, [], [], max(0.0, limit - time.monotonic()))
        if not ready:
            late = True
            os.kill(pid, signal.SIGKILL)
            break
        for stream in ready:
            chunk = os.read(stream, 2**20)
            if not chunk or len(streams[stream]) > _MOST_READ:
                read.remove(stream)
            streams[stream] += chunk
    _, status, used = os.wait4(pid, 0)
    for stream in streams:
        os.close(stream)
    output, said = (bytes(streams[stream]) for stream, _ in pipes)
    lines = said.decode(errors="replace").strip().splitlines()
    return {
        "status": os.waitstatus_to_exitcode(status), "late": late, "bytes": len(output),
        "sha256": hashlib.sha256(output).hexdigest(), "text": output[:4000].decode(errors="replace"),
        "lines": len(lines), "said": lines[-1] if lines else "",
        "mebibytes": used.ru_maxrss // 1024, "seconds": used.ru_utime + used.ru_stime,
    }  # fmt: skip


def main() -> None:
    """Answer until standard input ends."""
    os.environ["OPENCV_FFMPEG_CAPTURE_OPTIONS"] = decoder.FFMPEG_OPTIONS
    cv2.setNumThreads(1)
    for line in sys.stdin:
        sys.stdout.write(json.dumps(decode(json.loads(line))) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
