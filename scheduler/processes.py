"""Decides how the scheduler's and workers' processes are started, restarted, stopped, and tied to their parent."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from common.errors import ServerError
from scheduler.embedded import child as embedded_child

#: Both without the folder they are started in: what lies there and is called as a part of ours is, is not ours.
SCHEDULER = ("-P", "-m", "scheduler")
WORKER = ("-P", "-m", "worker")
#: Exit status of a process that refuses to start; starting it again would not help.
REFUSED = 2
#: Restarts a family makes before it gives up; they are forgotten once none was needed for so many seconds.
MAX_RESTARTS, FORGOTTEN_SECONDS = 10, 600.0
#: Time the processes get between SIGTERM and SIGKILL, in seconds.
STOP_SECONDS = 20.0
_LONGEST_PAUSE = 30.0


def launch(arguments: Sequence[str], environment: Mapping[str, str], log: Path | None) -> subprocess.Popen[bytes]:
    """Start ``python ARGUMENTS`` in a session of its own, so that Ctrl-C reaches only its parent.

    The kernel kills it when this process's main thread ends, however that ends. Output is appended to ``log``, or
    goes where this process's output goes.
    """
    with contextlib.ExitStack() as closing:
        output = closing.enter_context(log.open("ab")) if log is not None else None
        return subprocess.Popen(
            [
                # The embedded servers' launcher; "-" is to stay the same user, "." is a directory it has no use for.
                *(sys.executable, "-I", "-S", embedded_child.__file__),
                *(str(os.getpid()), str(int(signal.SIGKILL)), "-", "."),
                *(sys.executable, *arguments),
            ],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
            env=environment,
        )


@dataclass
class _Member:
    name: str
    arguments: Sequence[str]
    environment: Mapping[str, str]
    log: Path | None
    process: subprocess.Popen[bytes] | None
    restart_at: float = 0.0


class Family:
    """A scheduler, if any, and some workers, kept alive until they are stopped.

    Parameters
    ----------
    environment : what every process gets, the servers' URLs included.
    log_dir : folder of their logs, one file each; made when missing. None: they write where this process writes.
    say : called with a line for the user when a process ends unasked.

    """

    def __init__(self, environment: Mapping[str, str], log_dir: Path | None, say: Callable[[str], None]) -> None:
        self._environment = environment
        self._log_dir = log_dir
        self._say = say
        self._restarts = 0
        self._restarted_at = 0.0
        self._members: list[_Member] = []
        if log_dir is not None:
            log_dir.mkdir(parents=True, exist_ok=True)

    def start(self, name: str, arguments: Sequence[str], own: Mapping[str, str] | None = None) -> None:
        """Start one process, with an environment of its ``own`` beside that of all; its log is begun anew."""
        log = None if self._log_dir is None else self._log_dir / f"{name}.log"
        if log is not None:
            log.write_bytes(b"")
        environment = {**self._environment, **(own or {})}
        self._members.append(_Member(name, arguments, environment, log, launch(arguments, environment, log)))

    def tend(self) -> None:
        """Notice processes that ended and start them again, later each time.

        Raises ServerError when one refuses to start, or when they ended too often.
        """
        for member in self._members:
            if member.process is not None and (status := _ended(member.process)) is not None:
                member.process = None
                self._plan_restart(member, status)
            elif member.process is None and time.monotonic() >= member.restart_at:
                member.process = launch(member.arguments, member.environment, member.log)

    def stop(self) -> None:
        """Stop workers, then the scheduler: SIGTERM, and SIGKILL for what is left after ``STOP_SECONDS``."""
        workers = [member for member in self._members if member.arguments == WORKER]
        others = [member for member in self._members if member not in workers]
        for group in (workers, others):
            stop_all([member.process for member in group if member.process is not None])
        self._members.clear()

    def _plan_restart(self, member: _Member, status: int) -> None:
        now = time.monotonic()
        if now > self._restarted_at + FORGOTTEN_SECONDS:
            self._restarts = 0
        self._restarted_at = now
        how = f"was killed by {signal.Signals(-status).name}" if status < 0 else f"ended with status {status}"
        said, see = ("see above", "") if member.log is None else (_last_line(member.log), f"; see {member.log}")
        if status == REFUSED:
            raise ServerError(f"{member.name} refused to start: {said}{see}")
        if self._restarts == MAX_RESTARTS:
            raise ServerError(f"{member.name} {how} after {MAX_RESTARTS} restarts: {said}{see}")
        pause = min(2.0**self._restarts / 2, _LONGEST_PAUSE)
        self._restarts += 1
        member.restart_at = now + pause
        self._say(f"{member.name} {how}; starting it again in {pause:g} s ({self._restarts} of {MAX_RESTARTS}){see}")


def stop_all(processes: Sequence[subprocess.Popen[bytes]]) -> None:
    """Ask processes to end, and kill those, with all they started, that have not after ``STOP_SECONDS``."""
    deadline = time.monotonic() + STOP_SECONDS
    try:
        for process in processes:
            process.send_signal(signal.SIGTERM)
        while time.monotonic() < deadline and any(_running(process) for process in processes):
            time.sleep(0.05)
    finally:
        # Also when a second Ctrl-C cuts the waiting short.
        for process in processes:
            if process.returncode is None:
                _kill_session(process.pid)
                process.wait()


def _running(process: subprocess.Popen[bytes]) -> bool:
    return process.returncode is None and _ended(process) is None


def _ended(process: subprocess.Popen[bytes]) -> int | None:
    """Exit status of a process that ended, negative for a signal; what it had started is killed."""
    # Looked at without being reaped, so that its number cannot name another session yet when that is killed.
    if os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
        return None
    _kill_session(process.pid)
    return process.wait()


def _kill_session(leader: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(leader, signal.SIGKILL)


def _last_line(log: Path) -> str:
    lines = log.read_bytes()[-4000:].decode(errors="replace").split("\n")
    said = [line.strip() for line in lines if line.strip()]
    return said[-1] if said else "it said nothing"
