"""Decides which clips validate a training: whole groups, so that no footage is on both sides.

A random split of clips puts parts of the same footage on both sides, and the accuracy it measures is that of
recognising the footage again.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from common.errors import InputError
from common.groups import Group, group_number, group_of
from worker.training.request import Clip


@dataclass(frozen=True)
class Split:
    """Numbers of the clips on either side, in order."""

    train: tuple[int, ...]
    validation: tuple[int, ...]
    notes: tuple[str, ...]  #: what the user should know of it


def split_clips(clips: Sequence[Clip], share: float, numbers: Sequence[int] | None, seed: int) -> Split:
    """Set groups aside for validation: those numbered so, or some of each class, drawn by the seed.

    Raises InputError when a group number is not there, or a class would have no clip left to train on.
    """
    members: dict[Group, list[int]] = defaultdict(list)
    for index, clip in enumerate(clips):
        members[group_of(clip.label, clip.path)].append(index)
    chosen = _drawn(members, share, seed) if numbers is None else _numbered(clips, members, numbers)
    validation = sorted(index for group in chosen for index in members[group])
    train = sorted(set(range(len(clips))) - set(validation))
    left = {clips[index].label for index in train}
    for clip in clips:
        if clip.label not in left:
            raise InputError("validation_groups", f"class {clip.label!r} would have no clip left to train on")
    return Split(tuple(train), tuple(validation), tuple(_notes(clips, len(members), chosen)))


def shared_group(clips: Sequence[Clip], others: Sequence[Clip]) -> Group | None:
    """A group that two sets of clips have in common, if any."""
    one, other = ({group_of(clip.label, clip.path) for clip in side} for side in (clips, others))
    return min(one & other, default=None)


def _drawn(members: dict[Group, list[int]], share: float, seed: int) -> set[Group]:
    """Groups of each class, until they have the share of its clips; at least one group is left."""
    chosen: set[Group] = set()
    if share == 0:
        return chosen
    for number, label in enumerate(sorted({group[0] for group in members})):
        groups = sorted(group for group in members if group[0] == label)
        wanted = share * sum(len(members[group]) for group in groups)
        taken = 0
        for position in np.random.default_rng([seed, number]).permutation(len(groups))[1:]:
            if taken >= wanted:
                break
            chosen.add(groups[position])
            taken += len(members[groups[position]])
    return chosen


def _numbered(clips: Sequence[Clip], members: dict[Group, list[int]], numbers: Sequence[int]) -> set[Group]:
    for clip in clips:
        if group_number(clip.path) is None:
            raise InputError("validation_groups", f"{clip.path.name} has no group; UCF101's are v_Class_gNN_cNN")
    present = {group_number(clip.path) for clip in clips}
    missing = next((number for number in numbers if number not in present), None)
    if missing is not None:
        raise InputError("validation_groups", f"no clip is of group {missing}")
    return {group for group, found in members.items() if group_number(clips[found[0]].path) in numbers}


def _notes(clips: Sequence[Clip], groups: int, chosen: set[Group]) -> list[str]:
    unnamed = sum(group_number(clip.path) is None for clip in clips)
    notes = []
    if chosen:
        notes.append(f"{len(chosen)} of {groups} groups validate; no group is on both sides")
    else:
        notes.append("no clips are set aside, so nothing is said of the accuracy on other clips")
    if unnamed:
        notes.append(
            f"{unnamed} clips are not named v_Class_gNN_cNN, so each counts as its own group: where several were cut "
            "from one video, a random split leaks, and the accuracy on validation clips is too high"
        )
    return notes
