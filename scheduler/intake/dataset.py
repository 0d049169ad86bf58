"""Decides which clips a dataset has: a folder in UCF101's layout, a list of such clips, or a single video."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from common.errors import InputError
from common.printable import is_printable
from scheduler.intake.lists import LIST_SUFFIXES, VIDEO_SUFFIXES, read_list
from scheduler.intake.paths import real_path

#: The problem of a clip that is named and not there.
MISSING = "does not exist or is not an ordinary file"


@dataclass(frozen=True, order=True)
class FoundClip:
    """A clip of a dataset; one with a problem becomes a failed clip of the job."""

    label: str
    path: str  #: absolute
    problem: str | None = None


def find_clips(dataset: Path, *, root: Path | None = None, label: str | None = None) -> list[FoundClip]:
    """Find the clips of a dataset, sorted by label and path; missing files are found with their problem.

    ``root`` is where the entries of a list start (its folder by default); ``label`` overrides a single video's.
    Raises InputError when the dataset is missing, unreadable or empty, or a list has an entry that is not accepted.
    """
    try:
        clips = _in_dataset(dataset, root, label)
    except OSError as error:
        raise InputError(str(error.filename or dataset), f"cannot be read ({error.strerror})") from error
    if not clips:
        suffixes = ", ".join(VIDEO_SUFFIXES)
        raise InputError(str(dataset), f"has no clips; expected <Class>/<clip> with one of {suffixes}")
    return sorted(clips)


def _in_dataset(dataset: Path, root: Path | None, label: str | None) -> list[FoundClip]:
    kind = dataset.suffix.lower()
    is_folder, is_list = dataset.is_dir(), kind in LIST_SUFFIXES
    if root is not None and (is_folder or not is_list):
        raise InputError("--root", "is only for a dataset that is a list of clips")
    if label is not None and (is_folder or is_list):
        raise InputError("--label", "is only for a dataset that is a single video")
    if is_folder:
        return _in_folder(dataset)
    if not dataset.exists():
        raise InputError(str(dataset), "does not exist")
    if is_list:
        return _in_list(dataset, root or dataset.parent)
    if kind in VIDEO_SUFFIXES:
        return [look_at(dataset, label or dataset.parent.name)]
    accepted = ", ".join((*VIDEO_SUFFIXES, *LIST_SUFFIXES))
    raise InputError(str(dataset), f"is neither a folder nor a video or list ({accepted})")


def _in_folder(dataset: Path) -> list[FoundClip]:
    return [
        look_at(path, folder.name)
        for folder in sorted(dataset.iterdir())
        if folder.is_dir()
        for path in sorted(folder.iterdir())
        if path.suffix.lower() in VIDEO_SUFFIXES and not path.is_dir()
    ]


def look_at(path: Path, label: str) -> FoundClip:
    """A clip as its file is now; one that is missing, or whose name cannot be shown, has that problem."""
    text = str(path.absolute())
    if not is_printable(text + label):
        # Kept as what it looks like in escapes: the name itself is written into no database, terminal or report.
        try:
            (text + label).encode()
            problem = "its name has unprintable characters; rename it"
        except UnicodeEncodeError:
            problem = "its name is not UTF-8; rename it"
        return FoundClip(_escaped(label), _escaped(text), problem)
    try:
        return FoundClip(label, text, None if path.is_file() else MISSING)
    except OSError as error:
        return FoundClip(label, text, f"cannot be read ({error.strerror})")


def _escaped(text: str) -> str:
    return ascii(text)[1:-1]


def _in_list(file: Path, root: Path) -> list[FoundClip]:
    if not root.is_dir():
        raise InputError("--root", f"{root} is not a folder")
    inside = real_path(root, "--root")
    clips = []
    for entry in read_list(file):
        path = root / entry.path
        if not real_path(path, f"{file} line {entry.line}").is_relative_to(inside):
            raise InputError(f"{file} line {entry.line}", f"{str(entry.path)!r} leads out of {root}")
        clips.append(look_at(path, entry.label))
    return clips
