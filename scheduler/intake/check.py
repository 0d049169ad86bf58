"""Decides how clips are read before a job has them: each file once, by programs of their own, for only workers decode.

A file that ends its reader (the decoder crashed, or took too long) is that clip's problem; the next one gets a new
reader.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from queue import SimpleQueue
from types import TracebackType
from typing import IO, Any, Self

from pydantic import TypeAdapter, ValidationError

from common.errors import ServerError
from scheduler.programs import last_words

#: Readers at work at once.
READERS = 2
#: Characters of an answer; a reader taken over by a file cannot fill this process's memory.
_MOST_ANSWER = 2**16
#: Variables that a reader gets. Others may hold credentials, and it decodes bytes that nobody has vouched for.
_KEPT = ("PATH", "PYTHONPATH", "LD_LIBRARY_PATH", "LANG", "LC_ALL")


@dataclass(frozen=True)
class Need:
    """What a job needs of each clip."""

    frames: int
    every: Decimal | None = None  #: seconds between them; None for any frames

    def document(self) -> dict[str, Any]:
        """Write it as a part of a JSON object, the seconds as decimal text."""
        return {"frames": self.frames, "every": None if self.every is None else f"{self.every:f}"}


@dataclass(frozen=True)
class Reading:
    """What reading a clip's file gave; one with a problem may have any number of frames."""

    frames: int  #: where they are to be a pause apart, only such, and no more than are needed
    sha256: str | None
    problem: str | None


_READING = TypeAdapter(Reading)


def read_files(paths: Sequence[str], need: Need, max_bytes: int, tell: Callable[[int], None]) -> dict[str, Reading]:
    """Read every file, those that are links of one another once; ``tell`` hears how many more are read.

    ``max_bytes`` of decoded frames are too many. Raises ServerError when the readers themselves do not work.
    """
    names: dict[object, list[str]] = {}
    for path in paths:
        names.setdefault(_identity(path), []).append(path)
    idle: SimpleQueue[_Reader] = SimpleQueue()
    found: dict[str, Reading] = {}

    def read(path: str) -> Reading:
        reader = idle.get()
        try:
            return reader.ask(path, need, max_bytes)
        finally:
            idle.put(reader)

    with ThreadPoolExecutor(READERS) as pool, _Reader() as one, _Reader() as other:
        idle.put(one)
        idle.put(other)
        asked = {pool.submit(read, same[0]): same for same in names.values()}
        try:
            for done in as_completed(asked):
                found.update(dict.fromkeys(asked[done], done.result()))
                tell(len(asked[done]))
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return found


def _identity(path: str) -> object:
    """What two names of one file have in common."""
    try:
        status = Path(path).stat()
    except (OSError, ValueError):
        return path
    return status.st_dev, status.st_ino


class _Reader:
    """One reader, started when it is first needed and again after each file that ended it."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[str] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.communicate()

    def ask(self, path: str, need: Need, max_bytes: int) -> Reading:
        """Have one file read; raises ServerError when the reader fails for a reason of its own."""
        if self._process is None:
            self._process = _start()
        process = self._process
        line = ""
        try:
            asked: IO[Any] = process.stdin or sys.stdin
            asked.write(json.dumps({"path": path, "max_bytes": max_bytes, **need.document()}) + "\n")
            asked.flush()
            line = (process.stdout or sys.stdin).readline(_MOST_ANSWER)
        except BrokenPipeError:
            pass  # It has ended; its status says why.
        self._process = None
        if line:
            try:
                answer = _READING.validate_json(line)
            except ValidationError:
                # Whatever this file has made of its reader, no other file is read by it.
                process.kill()
                process.communicate()
                return Reading(0, None, "the decoder gave no answer that could be read")
            self._process = process
            return answer
        _, said = process.communicate()
        if process.returncode >= 0:
            raise ServerError(f"the check of clips ended early: {last_words(said, process.returncode)}")
        return Reading(0, None, _cause(-process.returncode))


def _start() -> subprocess.Popen[str]:
    environment = {name: os.environ[name] for name in _KEPT if name in os.environ}
    return subprocess.Popen(
        # -P: a module lying in the current directory must not stand in for one of ours.
        [sys.executable, "-P", "-m", "worker.entry.check_clips"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
    )


def _cause(number: int) -> str:
    if number in (signal.SIGALRM, signal.SIGXCPU):
        return "takes too long to decode"
    return f"the decoder was stopped by {signal.Signals(number).name}"
