"""Decides which of a dataset's clips are wanted: those of an official list, of some classes, the first few."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from common.errors import InputError
from scheduler.intake.dataset import MISSING, FoundClip, find_clips
from scheduler.intake.lists import LIST_SUFFIXES
from scheduler.intake.official import OfficialList, class_folder, find_list, short_name

#: Classes that a message names; the user sees what kind of names they are.
_FEW = 8


@dataclass(frozen=True)
class Selection:
    """What is asked for of a dataset; whatever is left out selects everything."""

    root: Path | None = None  #: where a list's entries start
    label: str | None = None  #: class of a single video
    split: str | None = None  #: name of an official list
    splits: Path | None = None  #: folder of the official lists
    missing: bool = True  #: whether a list's clips that a class folder lacks are kept, as missing, or skipped
    only: tuple[str, ...] = ()  #: classes
    per_class: int | None = None  #: the first clips of each class
    limit: int | None = None  #: the first clips of all


@dataclass(frozen=True)
class Selected:
    """The clips that are wanted, by label and path."""

    clips: list[FoundClip]
    #: ``Class/clip.avi`` of the official list, of the wanted classes: not in the dataset, and not kept as missing.
    skipped: Sequence[str] = ()


def select(dataset: Path, wanted: Selection) -> Selected:
    """Find a dataset's clips and choose among them, in this order: official list, classes, per class, overall.

    Raises InputError when the dataset or the list cannot be used, or no clip is left.
    """
    clips, skipped = find_clips(dataset, root=wanted.root, label=wanted.label), list[str]()
    if wanted.split is not None:
        base = folder_of(dataset, wanted.root)
        if base is None:
            raise InputError("--split", "is only for a dataset that is a folder or a list of clips")
        official = find_list(wanted.split, base, wanted.splits)
        clips, skipped = _in_official(clips, official, dataset if dataset.is_dir() and wanted.missing else None)
        if not clips:
            raise InputError("--split", f"none of the {len(official.clips):,} clips of {official.file} is in {dataset}")
    labels = {clip.label for clip in clips}
    for name in wanted.only:
        if name not in labels:
            raise InputError("--class", f"no clip is labelled {name!r}")
    taken: Counter[str] = Counter()
    chosen = []
    for clip in clips:
        taken[clip.label] += 1
        if (not wanted.only or clip.label in wanted.only) and taken[clip.label] <= (wanted.per_class or len(clips)):
            chosen.append(clip)
    asked = [name for name in skipped if not wanted.only or class_folder(name) in wanted.only]
    return Selected(chosen[: wanted.limit], asked)


def usable(clips: list[FoundClip], classes: Collection[str]) -> list[FoundClip]:
    """Hold clips against the model's ``classes``: one with another label is kept with that problem.

    Raises InputError when none can be certified.
    """
    judged = [judge(clip, classes) for clip in clips]
    if all(clip.problem is not None for clip in judged):
        first = judged[0]
        problem = f"{first.problem}; none of the {len(judged)} clips can be certified"
        if first.label not in classes:
            known = ", ".join(list(classes)[:_FEW]) + (", …" if len(classes) > _FEW else "")
            problem += f". Its classes are {known}; a single video's is its folder's name unless --label says it"
        raise InputError(first.path, problem)
    return judged


def judge(clip: FoundClip, classes: Collection[str]) -> FoundClip:
    """Hold one clip against the model's ``classes``."""
    if clip.problem is not None or clip.label in classes:
        return clip
    return replace(clip, problem=f"its label {clip.label!r} is not one of the model's {len(classes)} classes")


def folder_of(dataset: Path, root: Path | None) -> Path | None:
    """Folder beside which a dataset's official lists lie; None for a single video."""
    if dataset.is_dir():
        return dataset
    return root or dataset.parent if dataset.suffix.lower() in LIST_SUFFIXES else None


def _in_official(
    clips: list[FoundClip], official: OfficialList, folder: Path | None
) -> tuple[list[FoundClip], list[str]]:  # fmt: skip
    """Take a list's clips; of a ``folder``, one that its class folder lacks is missing, and others are skipped.

    A manifest is a choice already: what it leaves out is not missing.
    """
    wanted = official.clips
    taken = [clip for clip in clips if short_name(clip.path) in wanted]
    absent = sorted(wanted - {short_name(clip.path) for clip in taken})
    if folder is None:
        return sorted(taken), absent
    present = {path.name for path in folder.iterdir() if path.is_dir()}
    missing = [
        FoundClip(class_folder(name), str((folder / name).absolute()), MISSING)
        for name in absent
        if class_folder(name) in present
    ]
    return sorted(taken + missing), [name for name in absent if class_folder(name) not in present]
