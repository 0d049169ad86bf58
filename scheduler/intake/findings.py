"""Decides what is wrong with a dataset: clips that no job should be given, and groups that two lists share."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from scheduler.intake.check import Need, Reading
from scheduler.intake.dataset import MISSING, FoundClip
from scheduler.intake.official import OfficialList, find_list, groups_of, lists_beside, other_half, short_name


class Fault(StrEnum):
    """What can be wrong with a clip."""

    MISSING = "missing"
    UNREADABLE = "unreadable"
    SHORT = "short"
    DUPLICATED = "duplicated"


@dataclass(frozen=True)
class Finding:
    """A clip that something is wrong with."""

    clip: FoundClip
    fault: Fault
    problem: str


@dataclass(frozen=True)
class ClassCount:
    """Clips of one class."""

    label: str
    clips: int
    groups: int
    faults: Mapping[Fault, int]


@dataclass(frozen=True)
class ListCount:
    """One official list: how much of it is there, and what it shares with the other list of its number."""

    name: str
    entries: int
    clips: int  #: of the dataset
    groups: int
    other: str | None
    shared: tuple[str, ...]  #: groups of both


def find_faults(clips: Sequence[FoundClip], readings: Mapping[str, Reading], need: Need) -> list[Finding]:
    """Hold each clip against what reading it gave, in the clips' order."""
    apart = "" if need.every is None else f" at --every {need.every:f}"
    first: dict[str, FoundClip] = {}
    found = []
    for clip in clips:
        reading = readings.get(clip.path)
        if clip.problem is not None or reading is None:
            fault = Fault.MISSING if clip.problem == MISSING else Fault.UNREADABLE
            found.append(Finding(clip, fault, clip.problem or "was not read"))
            continue
        if reading.problem is not None:
            found.append(Finding(clip, Fault.UNREADABLE, reading.problem))
            continue
        if reading.frames < need.frames:
            noun = "frame" if reading.frames == 1 else "frames"
            found.append(Finding(clip, Fault.SHORT, f"has {reading.frames} {noun}{apart}, {need.frames} are needed"))
        original = first.setdefault(reading.sha256 or clip.path, clip)
        if original is not clip:
            labelled = "" if original.label == clip.label else f", which is labelled {original.label}"
            same = f"has the same bytes as {short_name(original.path)}{labelled}"
            found.append(Finding(clip, Fault.DUPLICATED, same))
    return found


def count_classes(clips: Sequence[FoundClip], findings: Sequence[Finding]) -> list[ClassCount]:
    """Count clips, groups and faults of each class."""
    paths: dict[str, list[str]] = {}
    for clip in clips:
        paths.setdefault(clip.label, []).append(clip.path)
    faults = Counter((finding.clip.label, finding.fault) for finding in findings)
    return [
        ClassCount(label, len(named), len(groups_of(named)), {fault: faults[label, fault] for fault in Fault})
        for label, named in sorted(paths.items())
    ]


def count_lists(clips: Sequence[FoundClip], base: Path, split: str | None, splits: Path | None) -> list[ListCount]:
    """Count what the dataset has of an official list, or of each that is there, and the groups it shares."""
    lists = lists_beside(base, splits) if split is None else [find_list(split, base, splits)]
    have = {short_name(clip.path) for clip in clips if clip.problem is None}
    return [_count_list(official, have) for official in lists]


def _count_list(official: OfficialList, have: set[str]) -> ListCount:
    other = other_half(official)
    shared = official.groups & other.groups if other is not None else ()
    return ListCount(
        official.name, len(official.entries), len(official.clips & have), len(official.groups),
        None if other is None else other.name, tuple(" ".join(group) for group in sorted(shared)),
    )  # fmt: skip
