"""Measures what it takes to check, submit and plan as many clips as UCF101 has: ``python -m benchmarks.intake``.

The clips are hard links of a few, rendered or given with ``--clips``, under names and lists like UCF101's; with
``--copies`` each is a file of its own, which must be read.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from itertools import cycle, islice
from pathlib import Path

import sqlalchemy as sa
import torch

from benchmarks.report import write_report
from common.celery_app import make_app
from common.settings import Settings
from common.store.engine import open_engine, open_worker_engine
from common.wire import WorkerInfo
from migrations.schema import upgrade
from scheduler.embedded import start_stack
from scheduler.loop import tick
from scheduler.pace import Pace
from worker.demo.render import render_dataset
from worker.models import build, save_weights
from worker.store import WorkerStore

#: Clips of UCF101, the groups of each of its classes, and those of them that test.
CLIPS, GROUPS, TESTING = 13_320, 25, 7
#: What may pass for the whole, in seconds and MiB, at each step.
SECONDS, MIB = 120.0, 500.0
GAME = ("--features", "grid:2x2", "--norm", "L2", "--tau", "1", "--radius", "100")
#: Pause between two looks at a command's memory, in seconds.
_LOOK = 0.2
_PAGE_MIB = os.sysconf("SC_PAGE_SIZE") / 2**20


def main() -> None:
    """Make the clips, check and submit them, run a round of the scheduler, and write ``build/bench/intake.json``."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clips", type=Path, help="folder <Class>/<clip> to link from; rendered ones by default")
    parser.add_argument("--copies", action="store_true", help="copy clips instead of linking them")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="flowcert-bench-") as folder:
        write_report("intake", _measure(Path(folder), options.clips, copies=options.copies))


def make_dataset(home: Path, source: Path | None = None, *, copies: bool = False) -> tuple[Path, Path, int]:
    """Make as many clips as UCF101 has, and weights for their classes; returns both, and how many files differ."""
    if source is None:
        source = home / "rendered"
        render_dataset(source, per_class=5, seed=0)
    dataset, files = _multiply(source, home / "dataset", copies=copies)
    return dataset, _weights(home, sorted(path.name for path in dataset.iterdir() if path.is_dir())), files


def submit_dataset(dataset: Path, weights: Path, **settings: str) -> tuple[float, float]:
    """Submit the clips by the command line; returns its seconds and its peak memory in MiB."""
    return _run("submit", dataset, "--model", "cnn_lstm", "--weights", weights, *GAME, **settings)


def _measure(home: Path, source: Path | None, *, copies: bool) -> dict[str, float]:
    dataset, weights, files = make_dataset(home, source, copies=copies)
    with start_stack(home / "data") as stack:
        engine = open_engine(stack.urls.database_url)
        upgrade(engine)
        # The commands find the servers that run in the data directory, as they do beside another command.
        settings = {"FLOWCERT_DATA_DIR": str(home / "data")}
        # Clips that are there twice are what is expected here, so the check says 1.
        check, check_mib = _run("dataset", "check", dataset, "--json", expected=int(not copies), **settings)
        submit, submit_mib = submit_dataset(dataset, weights, **settings)
        round_seconds = _first_round(engine, stack.urls.database_url, stack.urls.broker_url)
        engine.dispose()
    figures = {
        "clips": CLIPS, "files": files, "check_seconds": check, "check_peak_mib": check_mib,
        "submit_seconds": submit, "submit_peak_mib": submit_mib, "first_round_seconds": round_seconds,
    }  # fmt: skip
    _hold(figures)
    return figures


def _multiply(source: Path, dataset: Path, *, copies: bool) -> tuple[Path, int]:
    """Give the classes of ``source`` as many clips as UCF101 has, divided among groups, and lists of them."""
    folders = sorted(path for path in source.iterdir() if path.is_dir() and any(path.iterdir()))
    lists: dict[str, list[str]] = {"train": [], "test": []}
    originals = 0
    for number, folder in enumerate(folders, start=1):
        (dataset / folder.name).mkdir(parents=True)
        # Copied once: a link cannot lead to another file system.
        kept = [Path(shutil.copy(clip, dataset.parent / f"{number}-{clip.name}")) for clip in sorted(folder.iterdir())]
        originals += len(kept)
        share = CLIPS // len(folders) + (number <= CLIPS % len(folders))
        for place, original in enumerate(islice(cycle(kept), share)):
            group, clip = place % GROUPS + 1, place // GROUPS + 1
            name = f"{folder.name}/v_{folder.name}_g{group:02}_c{clip:02}{original.suffix}"
            if copies:
                # A byte at the end makes each file one of its own; AVI readers do not mind.
                (dataset / name).write_bytes(original.read_bytes() + place.to_bytes(4, "little"))
            else:
                (dataset / name).hardlink_to(original)
            half = "test" if group <= TESTING else "train"
            lists[half].append(name if half == "test" else f"{name} {number}")
    for half, names in lists.items():
        (dataset / f"{half}list01.txt").write_text("".join(f"{name}\r\n" for name in names))
    classes = (f"{number} {folder.name}\r\n" for number, folder in enumerate(folders, start=1))
    (dataset / "classInd.txt").write_text("".join(classes))
    return dataset, CLIPS if copies else originals


def _weights(home: Path, classes: list[str]) -> Path:
    """A model of random weights for these classes: nothing is asked of it here but to run."""
    args = {"classes": len(classes), "height": 64, "width": 64, "hidden": 64}
    torch.manual_seed(0)
    path = home / "weights.safetensors"
    names = tuple(classes)
    module = build("cnn_lstm", args)
    save_weights(path, module, name="cnn_lstm", args=args, classes=names, frames=16, height=64, width=64)
    return path


def _run(*arguments: object, expected: int = 0, **settings: str) -> tuple[float, float]:
    """Run a command; returns its seconds and the peak of its and its children's resident memory, in MiB."""
    command = [sys.executable, "-m", "scheduler.cli.main", *map(str, arguments)]
    unset = {name: value for name, value in os.environ.items() if not name.startswith("FLOWCERT_")}
    begun, peak = time.perf_counter(), 0.0
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, env=unset | settings) as process:
        while process.poll() is None:
            peak = max(peak, _resident_mib(process.pid))
            time.sleep(_LOOK)
    elapsed = time.perf_counter() - begun
    if process.returncode != expected:
        raise RuntimeError(f"flowcert {arguments[0]} ended with {process.returncode}, not {expected}")
    return elapsed, peak


def _resident_mib(root: int) -> float:
    """Resident memory of a process and its descendants; pages that they share are counted for each."""
    parents: dict[int, int] = {}
    resident: dict[int, int] = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            # The name in brackets may hold anything; the parent is the second field after it.
            parents[int(folder.name)] = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            resident[int(folder.name)] = int((folder / "statm").read_text().split()[1])
        except (OSError, IndexError):
            continue  # It has ended in between.
    family = {root}
    while more := {pid for pid, parent in parents.items() if parent in family} - family:
        family |= more
    return sum(resident.get(pid, 0) for pid in family) * _PAGE_MIB


def _first_round(engine: sa.Engine, database_url: str, broker_url: str) -> float:
    """Run the scheduler's first round, with one worker to announce tasks to."""
    settings = Settings(database_url=database_url, broker_url=broker_url)
    info = WorkerInfo(host="bench", pid=1, device="cpu", versions={})
    WorkerStore(open_worker_engine(database_url), "bench", settings.lease_seconds).beat(info, None, None)
    app = make_app(broker_url, task_seconds=settings.task_seconds)
    begun = time.perf_counter()
    tick(engine, app, settings, Pace(settings.task_seconds))
    elapsed = time.perf_counter() - begun
    with engine.connect() as connection:
        query = "SELECT count(*), count(announced_at) FROM tasks WHERE state = 'ready'"
        tasks, announced = connection.execute(sa.text(query)).one()
    if (tasks, announced) != (CLIPS, settings.window):
        raise RuntimeError(f"{tasks} tasks are ready and {announced} announced, not {CLIPS} and {settings.window}")
    return elapsed


def _hold(figures: dict[str, float]) -> None:
    """Refuse figures beyond what the whole of UCF101 may take."""
    for name, most in (("check_seconds", SECONDS), ("check_peak_mib", MIB), ("submit_peak_mib", MIB)):
        if figures[name] > most:
            print(f"{name} is {figures[name]:.0f}, more than {most:.0f}")
    planned = figures["submit_seconds"] + figures["first_round_seconds"]
    if planned > SECONDS:
        print(f"submitting and planning took {planned:.0f} s, more than {SECONDS:.0f} s")


if __name__ == "__main__":
    main()
