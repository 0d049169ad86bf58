"""Gives acceptance tests the installed command, with a data directory of its own, and freshly rendered clips."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import pytest
import sqlalchemy as sa

from common.store.engine import open_engine
from scheduler.embedded import start_stack
from tests.programs import ROOT, environment_of
from worker.demo.render import render_dataset

WEIGHTS = ROOT / "worker" / "demo" / "weights.safetensors"
#: A small game on rendered clips. One move of a whole 32x32 frame costs 32 px, so there are at most two (45.3 px).
SMALL_GAME = {"model": "cnn_lstm", "weights": WEIGHTS, "features": "global", "norm": "L2", "tau": 1, "radius": 46}


def options(fields: dict[str, Any]) -> list[str]:
    """Write fields as options of the command line; those that are None are left out."""
    return [f"--{name.replace('_', '-')}={value}" for name, value in fields.items() if value is not None]


def strict_json(text: str) -> Any:
    """Read JSON that has neither NaN nor Infinity."""

    def never(word: str) -> None:
        raise AssertionError(f"{word} is no JSON")

    return json.loads(text, parse_constant=never)


@dataclass(frozen=True)
class Home:
    """A data directory, and the command line in it."""

    folder: Path

    def start(
        self, *arguments: object, notes: IO[str] | int = subprocess.PIPE, **settings: object
    ) -> subprocess.Popen[str]:
        """Start the command with its standard error in ``notes``; ``settings`` are Flowcert's, in lower case."""
        return subprocess.Popen(
            [Path(sys.executable).with_name("flowcert"), *map(str, arguments)],
            stdout=subprocess.PIPE,
            stderr=notes,
            text=True,
            env=environment_of({"data_dir": self.folder, **settings}),
        )

    def flowcert(self, *arguments: object, **settings: object) -> subprocess.CompletedProcess[str]:
        """Run the command to its end, whatever that is."""
        process = self.start(*arguments, **settings)
        output, notes = process.communicate(timeout=240)
        return subprocess.CompletedProcess(process.args, process.returncode, output, notes)

    def rows(self, *arguments: object) -> list[dict[str, Any]]:
        """Run a listing command, which must succeed, and read its rows."""
        done = self.flowcert(*arguments, "--json")
        assert done.returncode == 0, done.stderr
        return strict_json(done.stdout)

    def query(self, statement: str) -> list[dict[str, Any]]:
        """Ask the embedded database, starting it if no one has."""
        with start_stack(self.folder) as stack:
            engine = open_engine(stack.urls.database_url)
            try:
                with engine.connect() as connection:
                    return [dict(row) for row in connection.execute(sa.text(statement)).mappings()]
            finally:
                engine.dispose()


@pytest.fixture(scope="module")
def new_home() -> Iterator[Callable[[], Home]]:
    """Return a function that makes a data directory, in memory where that is possible; removed at the end."""
    memory = Path("/dev/shm")
    parent = memory if memory.is_dir() and os.access(memory, os.W_OK) else None
    with tempfile.TemporaryDirectory(prefix="flowcert-", dir=parent) as folder:
        made: list[Home] = []

        def make() -> Home:
            made.append(Home(Path(folder) / f"home{len(made)}"))
            return made[-1]

        yield make


@pytest.fixture(scope="module")
def home(new_home: Callable[[], Home]) -> Home:
    """A data directory that does not exist yet; the same for all tests of a file."""
    return new_home()


@pytest.fixture(scope="session")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One rendered clip of each of the four classes; nobody may change them."""
    folder = tmp_path_factory.mktemp("clips")
    render_dataset(folder, per_class=1, seed=0)
    return folder


@pytest.fixture
def copied_clips(clips: Path, tmp_path: Path) -> Path:
    """The rendered clips in a folder that the test may change."""
    return Path(shutil.copytree(clips, tmp_path / "clips"))
