"""Runs Flowcert's programs many times in forks of one process that has imported them: loading takes most of their time.

A fork reads its settings, its arguments and its files as a new process does, and ends as one does.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import runpy
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, Self

ROOT = Path(__file__).resolve().parents[1]
#: What ``-m`` may name.
MODULES = {"scheduler": "scheduler.__main__", "worker": "worker.__main__", "scheduler.cli.main": "scheduler.cli.main"}


class Programs:
    """The process that forks; a context manager that ends it."""

    def __enter__(self) -> Self:
        self._forker = subprocess.Popen(
            [sys.executable, "-m", "tests.programs"], cwd=ROOT, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        return self

    def __exit__(self, *_: object) -> None:
        self._forker.communicate()

    def run(self, module: str, *arguments: object, **settings: object) -> subprocess.CompletedProcess[str]:
        """Run ``python -m module`` to its end; ``settings`` are Flowcert's, in lower case, and it has no others."""
        clean = {name: value for name, value in os.environ.items() if not name.startswith("FLOWCERT_")}
        given = {f"FLOWCERT_{name.upper()}": str(value) for name, value in settings.items()}
        command = [MODULES[module], *map(str, arguments)]
        with tempfile.TemporaryDirectory() as folder:
            said = {name: str(Path(folder) / name) for name in ("stdout", "stderr")}
            request = {"command": command, "environment": {**clean, **given}, **said}
            assert self._forker.stdin is not None
            assert self._forker.stdout is not None
            self._forker.stdin.write(json.dumps(request) + "\n")
            self._forker.stdin.flush()
            status = int(self._forker.stdout.readline())
            texts = {name: Path(path).read_text(encoding="utf-8") for name, path in said.items()}
        return subprocess.CompletedProcess(command, status, **texts)


def _serve() -> None:
    for module in MODULES.values():
        importlib.import_module(module)
    for module in MODULES.values():
        # As the main module it is executed anew.
        del sys.modules[module]
    # No fork then copies, or looks through, what it shares with this process.
    gc.freeze()
    for line in sys.stdin:
        request = json.loads(line)
        child = os.fork()
        if child == 0:
            _become(request)
            return
        sys.stdout.write(f"{os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])}\n")
        sys.stdout.flush()


def _become(request: dict[str, Any]) -> None:
    """Be the program that is asked for, until the end of this process."""
    os.environ.clear()
    os.environ.update(request["environment"])
    for number, path, flags in (
        (0, os.devnull, os.O_RDONLY),
        (1, request["stdout"], os.O_WRONLY | os.O_CREAT),
        (2, request["stderr"], os.O_WRONLY | os.O_CREAT),
    ):
        os.dup2(os.open(path, flags), number)
    module, *arguments = request["command"]
    sys.argv = [module, *arguments]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    _serve()
