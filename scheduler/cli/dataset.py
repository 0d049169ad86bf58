"""The commands ``flowcert dataset …``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Group

from common.errors import InputError
from common.settings import read_settings
from scheduler.cli.options import AsJson, Limit, Only, PerClass, Root, Split, Splits
from scheduler.cli.orders import folder, source
from scheduler.cli.output import note, results_console
from scheduler.cli.steps import shown_steps
from scheduler.intake import Selection, select
from scheduler.intake.check import Need, Reading, read_files
from scheduler.intake.config import read_every, read_split
from scheduler.intake.findings import count_classes, count_lists, find_faults
from scheduler.intake.selection import folder_of
from scheduler.report.datasets import Checked, checked_json, checked_tables

#: Exit status when something is wrong with the dataset.
_FAULTY = 1
#: Frames of a clip that jobs take unless they say otherwise.
FRAMES = 16

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
    dataset = source(path, "DATASET")
    for option, number in (("--per-class", per_class), ("--limit", limit)):
        if number is not None and number < 1:
            raise InputError(option, f"must be 1 or more (given: {number})")
    need = Need(frames, None if every is None else read_every(every))
    wanted = Selection(
        root=folder(root, "--root"), split=None if split is None else _split(split), splits=folder(splits, "--splits"),
        only=tuple(only or ()), per_class=per_class, limit=limit,
    )  # fmt: skip
    found = select(dataset, wanted)
    if found.skipped:
        why = "there is no folder of their classes" if dataset.is_dir() else "the list does not name them"
        note(f"{wanted.split}: {len(found.skipped):,} of its clips are skipped; {why} ({dataset})")
    base = folder_of(dataset, wanted.root)
    lists = [] if base is None else count_lists(found.clips, base, wanted.split, wanted.splits)
    readings = _read([clip.path for clip in found.clips if clip.problem is None], need)
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


def _read(paths: list[str], need: Need) -> dict[str, Reading]:
    """Read clips, and show how many are read."""
    most_bytes, done = read_settings().max_clip_bytes, 0
    with shown_steps() as shown:

        def tell(more: int) -> None:
            nonlocal done
            done += more
            shown.step("clips read", done, len(paths))

        return read_files(paths, need, most_bytes, tell)


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
