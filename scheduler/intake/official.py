"""Decides where UCF101's official lists are found, what they say, and which groups a list shares with its other half.

Lines are ``Class/v_Class_gNN_cNN.avi``, in train lists with the class's number in ``classInd.txt`` after them. Clips of
one group of a class were cut from the same footage (K. Soomro, A. Zamir and M. Shah, UCF101, CRCV-TR-12-01, 2012).
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from common.errors import InputError
from common.groups import Group, group_number, group_of
from scheduler.intake.lists import Entry, read_list
from scheduler.intake.paths import read_text

#: Places of the lists, from the folder of the clips; UCF101's own archive is unpacked beside it.
_PLACES = (".", "ucfTrainTestlist", "ucfTrainTestList", "../ucfTrainTestlist", "../ucfTrainTestList")
_CLASSES = "classInd.txt"
_HALVES = {"train": "test", "test": "train"}
#: Bytes of the list of classes above which it is none; and their numbers, which are no longer than this.
_MOST_CLASS_BYTES = 2**20
_NUMBER = re.compile(r"\d{1,9}", re.ASCII)
_NAME = re.compile(r"(train|test)(list\w+)")
#: The lists that UCF101 comes with.
OFFICIAL = tuple(f"{half}list0{number}" for number in (1, 2, 3) for half in _HALVES)


@dataclass(frozen=True)
class OfficialList:
    """An official list: entries by class folder and file name."""

    file: Path
    entries: tuple[Entry, ...]

    @property
    def name(self) -> str:
        """Its name, as ``--split`` takes it."""
        return self.file.stem

    @property
    def clips(self) -> frozenset[str]:
        """Its clips, as ``Class/clip.avi``."""
        return frozenset(short_name(entry.path.as_posix()) for entry in self.entries)

    @property
    def groups(self) -> frozenset[Group]:
        """The groups its clips are of."""
        return groups_of(self.clips)


def find_list(name: str, base: Path, splits: Path | None) -> OfficialList:
    """Find and read the official list of a name: in ``splits``, or else next to the clips in ``base``.

    Raises InputError when it is nowhere, or a train list numbers classes otherwise than ``classInd.txt`` beside it.
    """
    found = _locate(name, base, splits)
    if found is None:
        places = splits or f"{base} or the ucfTrainTestlist in or beside it"
        raise InputError("--split", f"there is no {name}.txt in {places}; --splits says where the lists are")
    return _read(found)


def other_half(official: OfficialList) -> OfficialList | None:
    """The test list of a train list's number, or the other way round; None where there is none."""
    match = _NAME.fullmatch(official.name)
    if match is None:
        return None
    file = official.file.with_name(f"{_HALVES[match[1]]}{match[2]}.txt")
    return _read(file) if file.is_file() else None


def lists_beside(base: Path, splits: Path | None) -> list[OfficialList]:
    """Every official list that is there."""
    return [_read(file) for name in OFFICIAL if (file := _locate(name, base, splits)) is not None]


def short_name(path: str) -> str:
    """A clip's class folder and file name, by which official lists and people call it."""
    return "/".join(path.rsplit("/", 2)[-2:])


def class_folder(name: str) -> str:
    """Class folder of a clip that is named as official lists do."""
    return name.partition("/")[0]


def groups_of(clips: Iterable[str]) -> frozenset[Group]:
    """Class folder and group of clips that are named as UCF101's are."""
    named = (PurePosixPath(clip) for clip in clips)
    return frozenset(group_of(clip.parent.name, clip) for clip in named if group_number(clip) is not None)


def _locate(name: str, base: Path, splits: Path | None) -> Path | None:
    places = (base / place for place in _PLACES) if splits is None else (splits,)
    return next((file for place in places if (file := place / f"{name}.txt").is_file()), None)


def _read(file: Path) -> OfficialList:
    try:
        entries = read_list(file)
        classes = _numbered_classes(file.with_name(_CLASSES))
    except OSError as error:
        raise InputError(str(error.filename or file), f"cannot be read ({error.strerror})") from error
    for entry in entries:
        named = classes.get(entry.number) if entry.number is not None else None
        if classes and entry.number is not None and named != entry.label:
            told = f"{_CLASSES} calls {named}" if named is not None else f"{_CLASSES} does not have"
            raise InputError(f"{file} line {entry.line}", f"{entry.label} has number {entry.number}, which {told}")
    return OfficialList(file.resolve(), tuple(entries))


def _numbered_classes(file: Path) -> dict[int, str]:
    """Names of classes by their number, where the file is there."""
    if not file.is_file():
        return {}
    lines = (line.split() for line in read_text(file, _MOST_CLASS_BYTES, "list of classes").split("\n"))
    return {int(words[0]): " ".join(words[1:]) for words in lines if len(words) > 1 and _NUMBER.fullmatch(words[0])}
