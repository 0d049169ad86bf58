"""Runs Flowcert's programs many times in forks of one process that has imported them: loading takes most of their time.

A fork reads its settings, its arguments and its files as a new process does, and ends as one does.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import runpy
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

ROOT = Path(__file__).resolve().parents[1]
#: What ``-m`` may name.
MODULES = {
    "scheduler": "scheduler.__main__", "worker": "worker.__main__", "scheduler.cli.main": "scheduler.cli.main",
    "tests.crashing": "tests.crashing",
}  # fmt: skip


@dataclass
class Fork:
    """A program that runs, with what ``subprocess.Popen`` has of it."""

    pid: int
    programs: Programs
    returncode: int | None = None

    def poll(self) -> int | None:
        """Give the exit status, negative for a signal; None while it runs."""
        if self.returncode is None:
            self.returncode = self.programs.ask(poll=self.pid)
        return self.returncode

    def wait(self, timeout: float = 600.0) -> int:
        """Give the exit status once there is one; raise TimeoutExpired after so many seconds."""
        limit = time.monotonic() + timeout
        while (status := self.poll()) is None:
            if time.monotonic() > limit:
                raise subprocess.TimeoutExpired(str(self.pid), timeout)
            time.sleep(0.01)
        return status

    def send_signal(self, number: int) -> None:
        """Signal it, unless it has ended."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        """Tell it to stop."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """Kill -9 it, and not what it has started."""
        self.send_signal(signal.SIGKILL)


class Programs:
    """The process that forks; a context manager that ends it."""

    def __enter__(self) -> Self:
        self._asking = threading.Lock()
        self._forker = subprocess.Popen(
            [sys.executable, "-m", "tests.programs"], cwd=ROOT, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        return self

    def __exit__(self, *_: object) -> None:
        self._forker.communicate()

    def run(self, module: str, *arguments: object, **settings: object) -> subprocess.CompletedProcess[str]:
        """Run ``python -m module`` to its end; ``settings`` are Flowcert's, in lower case, and it has no others."""
        with tempfile.TemporaryDirectory() as folder:
            said = {name: Path(folder) / name for name in ("stdout", "stderr")}
            status = self.start(module, *arguments, **said, environment=environment_of(settings)).wait()
            texts = {name: path.read_text(encoding="utf-8") for name, path in said.items()}
        return subprocess.CompletedProcess([module, *map(str, arguments)], status, **texts)

    def start(
        self, module: str, *arguments: object, stdout: Path, stderr: Path, environment: Mapping[str, str]
    ) -> Fork:
        """Start ``python -m module`` as the leader of a process group of its own; its output is added to the files."""
        command = [MODULES[module], *map(str, arguments)]
        said = {"stdout": str(stdout), "stderr": str(stderr)}
        return Fork(self.ask(command=command, environment=dict(environment), **said), self)

    def ask(self, **request: object) -> Any:
        """Have a program started, or give the exit status of one that is, None while it runs."""
        assert self._forker.stdin is not None
        assert self._forker.stdout is not None
        with self._asking:
            self._forker.stdin.write(json.dumps(request) + "\n")
            self._forker.stdin.flush()
            return json.loads(self._forker.stdout.readline())


def environment_of(settings: Mapping[str, object]) -> dict[str, str]:
    """Give this process's environment with these settings of Flowcert, in lower case, and no others."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("FLOWCERT_")}
    return clean | {f"FLOWCERT_{name.upper()}": str(value) for name, value in settings.items()}


def _serve() -> None:
    _import_everything()
    # No fork then copies, or looks through, what it shares with this process.
    gc.freeze()
    for line in sys.stdin:
        request = json.loads(line)
        if "poll" in request:
            pid, status = os.waitpid(request["poll"], os.WNOHANG)
            answer = os.waitstatus_to_exitcode(status) if pid else None
        elif (answer := os.fork()) == 0:
            _become(request)
            return
        sys.stdout.write(f"{json.dumps(answer)}\n")
        sys.stdout.flush()


def _import_everything() -> None:
    for module in MODULES.values():
        importlib.import_module(module)
    # What a worker's child loads.
    importlib.import_module("worker.child").compile_kernels()
    for module in MODULES.values():
        # As the main module it is executed anew.
        del sys.modules[module]


def _become(request: dict[str, Any]) -> None:
    """Be the program that is asked for, until the end of this process."""
    os.setsid()
    # The parent of a worker refuses to have torch, because CUDA does not survive a fork; nothing here has used CUDA.
    torch = sys.modules.pop("torch")
    os.register_at_fork(after_in_child=lambda: sys.modules.update(torch=torch))
    os.environ.clear()
    os.environ.update(request["environment"])
    for number, path, flags in (
        (0, os.devnull, os.O_RDONLY),
        (1, request["stdout"], os.O_WRONLY | os.O_CREAT | os.O_APPEND),
        (2, request["stderr"], os.O_WRONLY | os.O_CREAT | os.O_APPEND),
    ):
        os.dup2(os.open(path, flags), number)
    module, *arguments = request["command"]
    sys.argv = [module, *arguments]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    _serve()
