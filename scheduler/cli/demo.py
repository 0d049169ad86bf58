"""The command ``flowcert demo``: certifies rendered clips of moving shapes, from nothing, on this machine."""

from __future__ import annotations

import importlib.util
import math
import os
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from common.errors import InputError
from common.settings import Settings, read_settings
from scheduler.cli.local import work
from scheduler.cli.orders import hand_in, take_request
from scheduler.cli.output import note
from scheduler.cli.servers import open_servers
from scheduler.programs import last_words

#: What the demo certifies its clips against. One move of a whole 32x32 frame costs √1024 = 32 px in L2, so the
#: radius allows five single steps (√5·32 = 71.6 px), or one of two and one more: 84,141 grid points a clip.
GAME: dict[str, Any] = {
    "model": "cnn_lstm", "features": "global", "norm": "L2", "tau": "1", "radius": "72", "continuous": True,
}  # fmt: skip
#: Clips that are certified unless the user says otherwise.
CLIPS = 8
#: Classes of the renderer, among which the clips are spread.
CLASSES = 4
SEED = 0
WORKERS = 2

Clips = Annotated[
    int, typer.Option("--clips", metavar="N", min=1, max=200, help="Clips, rounded up to equally many a class.")
]
Fresh = Annotated[bool, typer.Option("--fresh", help="Start a new job instead of resuming the last demo.")]


def demo(clips: Clips = CLIPS, fresh: Fresh = False) -> None:
    """Render clips, certify them with two workers, and print their bounds."""
    settings = read_settings()
    home = settings.data_dir / "demo"
    per_class = math.ceil(clips / CLASSES)
    dataset = _dataset(home, fresh=fresh)
    _render(dataset, per_class)
    weights = str(_weights())
    given = {**GAME, "dataset": str(dataset), "weights": weights, "per_class": per_class}
    order = take_request(given, settings)
    with open_servers(settings) as servers:
        job = hand_in(servers, order)
        work(servers, job, WORKERS)
    note(f"clips: {dataset}; model: {weights}; database, clip cache and logs: {settings.data_dir}")
    note("flowcert results --json, trace and status show more of it")
    for line in next_steps(settings, job, os.environ):
        note(line)


def next_steps(settings: Settings, job: int, environment: Mapping[str, str]) -> list[str]:
    """Say how to look at a job's clips in a browser: two commands that can be pasted, here or on a server."""
    home = ""
    if "FLOWCERT_DATA_DIR" in environment:
        # The shell that these are pasted into may not have what make demo has set.
        home = f"FLOWCERT_DATA_DIR={shlex.quote(_from_here(settings.data_dir))} "
    out = shlex.quote(_from_here(settings.data_dir / "report"))
    python = Path(_from_here(Path(sys.executable)))
    flowcert = python.with_name("flowcert")
    return [
        "",
        "to see them in a browser:",
        f"  {home}{shlex.quote(str(flowcert))} report {job} --out {out}",
        f"  {shlex.quote(str(python))} -m http.server --bind 127.0.0.1 --directory {out} 0",
        "the second command names the address to open, and serves it until Ctrl-C; on a desktop the file index.html in",
        f"{out} can be opened as it is, and on a server without a browser the folder can be copied to where one is",
    ]


def _from_here(path: Path) -> str:
    """A path as it is shortest: from the current folder where it lies below it, in full elsewhere."""
    whole = Path(os.path.abspath(path))  # noqa: PTH100 - links stay: .venv/bin/python is one.
    here = Path.cwd()
    return str(whole.relative_to(here)) if whole.is_relative_to(here) else str(whole)


def _dataset(home: Path, *, fresh: bool) -> Path:
    """Folder of the clips: the last demo's, or a new one, which makes a new job since its path is another."""
    earlier = sorted(home.glob("clips-*[0-9]"))
    if earlier and not fresh:
        return earlier[-1]
    return home / time.strftime("clips-%Y%m%d-%H%M%S")


def _render(dataset: Path, per_class: int) -> None:
    """Render what is missing of the clips; a clip is complete when it is there."""
    if dataset.is_dir() and all(
        len(list(folder.glob("*.avi"))) >= per_class for folder in dataset.iterdir() if folder.is_dir()
    ):
        return
    unfinished = dataset.with_name(f"{dataset.name}.new")
    command = ["-P", "-m", "worker.demo.render", str(unfinished), "--per-class", str(per_class), "--seed", str(SEED)]
    done = subprocess.run([sys.executable, *command], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        said = last_words(done.stderr, done.returncode)
        raise InputError(str(unfinished), f"the demo's clips could not be rendered: {said}")
    for clip in sorted(unfinished.rglob("*.avi")):
        target = dataset / clip.relative_to(unfinished)
        target.parent.mkdir(parents=True, exist_ok=True)
        clip.replace(target)
    shutil.rmtree(unfinished)


def _weights() -> Path:
    """The bundled weights; located without importing the worker, which has torch."""
    package = importlib.util.find_spec("worker")
    folders = package.submodule_search_locations if package is not None else None
    for folder in folders or ():
        path = Path(folder) / "demo" / "weights.safetensors"
        if path.is_file():
            return path
    raise InputError("worker/demo/weights.safetensors", "is not installed; reinstall flowcert")
