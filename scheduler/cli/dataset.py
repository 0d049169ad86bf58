"""The commands ``flowcert dataset …``."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Group
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from common.errors import InputError
from common.settings import Settings
from scheduler.cli.options import AsJson, Limit, Only, PerClass, Root, Split, Splits, folder
from scheduler.cli.output import note, notes_console, results_console
from scheduler.intake import Selection, select
from scheduler.intake.check import Need, read_files
from scheduler.intake.config import read_every, read_split
from scheduler.intake.findings import count_classes, count_lists, find_faults
from scheduler.intake.selection import folder_of
from scheduler.report.datasets import Checked, checked_json, checked_tables

#: Exit status when something is wrong with the dataset.
_FAULTY = 1
#: Frames of a clip that jobs take unless they say otherwise.
FRAMES = 16
#: Pause between two lines where there is no terminal to draw on, in seconds.
_LOG_PAUSE = 5.0

Dataset = Annotated[
    Path,
    typer.Argument(metavar="PATH", help="Folder <Class>/<clip>, a list of such clips (.txt, .csv), or a video file."),
]
Frames = Annotated[int, typer.Option("--frames", metavar="N", min=1, help="Fewest frames a clip must have.")]
Every = Annotated[
    str | None,
    typer.Option(metavar="SECONDS", help="Count only frames so many seconds apart, as a job with this option does."),
]


def check(
    path: Dataset,
    root: Root = None,
    split: Split = None,
    splits: Splits = None,
    only: Only = None,
    per_class: PerClass = None,
    limit: Limit = None,
    frames: Frames = FRAMES,
    every: Every = None,
    as_json: AsJson = False,
) -> None:
    """Read a dataset's clips before a job does; exit 1 when something is wrong with them.

    Lists clips that are missing, unreadable, too short or duplicated, counts clips by class and by official list, and
    says how many groups a list shares with the other list of its number.
    """
    dataset = path.expanduser().resolve()
    for option, number in (("--per-class", per_class), ("--limit", limit)):
        if number is not None and number < 1:
            raise InputError(option, f"must be 1 or more (given: {number})")
    need = Need(frames, None if every is None else read_every(every))
    wanted = Selection(
        root=folder(root), split=None if split is None else _split(split), splits=folder(splits),
        only=tuple(only or ()), per_class=per_class, limit=limit,
    )  # fmt: skip
    found = select(dataset, wanted)
    if found.skipped:
        why = "there is no folder of their classes" if dataset.is_dir() else "the list does not name them"
        note(f"{wanted.split}: {len(found.skipped):,} of its clips are skipped; {why} ({dataset})")
    base = folder_of(dataset, wanted.root)
    lists = [] if base is None else count_lists(found.clips, base, wanted.split, wanted.splits)
    readable = [clip.path for clip in found.clips if clip.problem is None]
    with _progress(len(readable)) as tell:
        readings = read_files(readable, need, Settings().max_clip_bytes, tell)
    findings = find_faults(found.clips, readings, need)
    checked = Checked(
        dataset=str(dataset), split=wanted.split, need=need, clips=len(found.clips), skipped=len(found.skipped),
        findings=findings, classes=count_classes(found.clips, findings), lists=lists,
    )  # fmt: skip
    _print(checked, as_json=as_json)
    if not checked.fine:
        raise typer.Exit(_FAULTY)


def _split(given: str) -> str:
    try:
        return read_split(given)
    except InputError as error:
        raise InputError("--split", error.problem) from error


def _print(checked: Checked, *, as_json: bool) -> None:
    if as_json:
        typer.echo(checked_json(checked))
    else:
        results_console().print(Group(*checked_tables(checked)))
    faulty = len({found.clip.path for found in checked.findings})
    leaks = sum(1 for count in checked.lists if count.shared)
    note(f"{checked.clips:,} clips checked: " + (f"{faulty:,} are faulty" if faulty else "none is faulty"))
    if leaks:
        note(f"{leaks} lists share groups with the other list of their number: what one trains on, the other tests")


@contextmanager
def _progress(clips: int) -> Iterator[Callable[[int], None]]:
    """Show how many of the clips are read: a bar on a terminal, a line now and then in a log."""
    console = notes_console()
    if console.is_terminal:
        columns = (TextColumn("reading clips"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        with Progress(*columns, console=console, transient=True) as bar:
            task = bar.add_task("", total=clips)
            yield lambda more: bar.advance(task, more)
        return
    done, said = 0, time.monotonic()

    def tell(more: int) -> None:
        nonlocal done, said
        done += more
        if time.monotonic() - said >= _LOG_PAUSE:
            note(f"{done:,} of {clips:,} clips read")
            said = time.monotonic()

    yield tell
