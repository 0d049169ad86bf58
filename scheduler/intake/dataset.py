"""Decides which clips a dataset has: a folder in UCF101's layout, a list of such clips, or a single video."""

from __future__ import annotations

import csv
import io
import re
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from common.errors import InputError

VIDEO_SUFFIXES = (".avi", ".mp4", ".mkv", ".mov", ".webm", ".m4v")
_LIST_SUFFIXES = (".txt", ".csv")
#: What OpenCV, FFmpeg or the operating system would take for something else than a file's name.
_FORBIDDEN = ("%", "!", "://", "\0")


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
    kind = dataset.suffix.lower()
    is_folder, is_list = dataset.is_dir(), kind in _LIST_SUFFIXES
    if root is not None and (is_folder or not is_list):
        raise InputError("--root", "is only for a dataset that is a list of clips")
    if label is not None and (is_folder or is_list):
        raise InputError("--label", "is only for a dataset that is a single video")
    try:
        if is_folder:
            clips = _in_folder(dataset)
        elif not dataset.exists():
            raise InputError(str(dataset), "does not exist")
        elif is_list:
            clips = _in_list(dataset, root or dataset.parent)
        elif kind in VIDEO_SUFFIXES:
            clips = [_clip(dataset, label or dataset.parent.name)]
        else:
            accepted = ", ".join((*VIDEO_SUFFIXES, *_LIST_SUFFIXES))
            raise InputError(str(dataset), f"is neither a folder nor a video or list ({accepted})")
    except OSError as error:
        raise InputError(str(error.filename or dataset), f"cannot be read ({error.strerror})") from error
    if not clips:
        suffixes = ", ".join(VIDEO_SUFFIXES)
        raise InputError(str(dataset), f"has no clips; expected <Class>/<clip> with one of {suffixes}")
    return sorted(clips)


def usable(
    clips: list[FoundClip], classes: Collection[str], *, only: Collection[str] = (), limit: int | None = None
) -> list[FoundClip]:
    """Choose the clips of the classes ``only`` (all, when empty), the first ``limit`` of each class.

    A clip whose label is not among the model's ``classes`` is kept with that problem. Raises InputError when no clip
    is left, or none that can be certified.
    """
    labels = {clip.label for clip in clips}
    for name in only:
        if name not in labels:
            raise InputError("--class", f"no clip is labelled {name!r}")
    taken: Counter[str] = Counter()
    chosen = []
    for clip in clips:
        if (only and clip.label not in only) or (limit is not None and taken[clip.label] >= limit):
            continue
        taken[clip.label] += 1
        chosen.append(_judged(clip, classes))
    if all(clip.problem is not None for clip in chosen):
        first = chosen[0]
        raise InputError(first.path, f"{first.problem}; none of the {len(chosen)} clips can be certified")
    return chosen


def _judged(clip: FoundClip, classes: Collection[str]) -> FoundClip:
    if clip.problem is not None or clip.label in classes:
        return clip
    return replace(clip, problem=f"its label {clip.label!r} is not one of the model's {len(classes)} classes")


def _in_folder(dataset: Path) -> list[FoundClip]:
    return [
        _clip(path, folder.name)
        for folder in sorted(dataset.iterdir())
        if folder.is_dir()
        for path in sorted(folder.iterdir())
        if path.suffix.lower() in VIDEO_SUFFIXES and not path.is_dir()
    ]


def _clip(path: Path, label: str) -> FoundClip:
    text = str(path.absolute())
    try:
        (text + label).encode()
    except UnicodeEncodeError:
        return FoundClip(ascii(label)[1:-1], ascii(text)[1:-1], "its name is not UTF-8; rename it")
    return FoundClip(label, text, None if path.is_file() else "does not exist or is not an ordinary file")


def _in_list(file: Path, root: Path) -> list[FoundClip]:
    """Read ``Class/clip.avi`` lines, those of UCF101's train lists with a number after them, or a CSV table."""
    if not root.is_dir():
        raise InputError("--root", f"{root} is not a folder")
    try:
        text = file.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(str(file), "is not UTF-8 text") from error
    inside = root.resolve()
    seen: dict[PurePosixPath, int] = {}
    clips = []
    for number, entry, given in _entries(text, table=file.suffix.lower() == ".csv"):
        where = f"{file} line {number}"
        relative = _accepted(entry, where)
        path = root / relative
        if not path.resolve().is_relative_to(inside):
            raise InputError(where, f"{entry!r} leads out of {root}")
        if relative in seen:
            raise InputError(where, f"{entry!r} is already in line {seen[relative]}")
        seen[relative] = number
        label = given or relative.parent.name
        if not label:
            raise InputError(where, f"{entry!r} has no class folder; expected Class/clip.avi")
        clips.append(_clip(path, label))
    return clips


def _entries(text: str, *, table: bool) -> list[tuple[int, str, str | None]]:
    """Line number, path and label (where the list says it) of each entry."""
    if table:
        rows = csv.reader(io.StringIO(text))
        found = [(rows.line_num, row) for row in rows if any(cell.strip() for cell in row)]
        header = [cell.strip().lower() for cell in found[0][1]] if found else []
        if "path" in header:
            path, label = header.index("path"), header.index("label") if "label" in header else len(header)
            return [
                (number, row[path].strip() if path < len(row) else "", row[label].strip() if label < len(row) else None)
                for number, row in found[1:]
            ]
        return [(number, row[0].strip(), row[1].strip() if len(row) > 1 else None) for number, row in found]
    lines = [(number, line.strip()) for number, line in enumerate(text.split("\n"), start=1)]
    return [(number, re.sub(r"\s+\d+$", "", line), None) for number, line in lines if line]


def _accepted(entry: str, where: str) -> PurePosixPath:
    """Refuse what is no plain relative path to a video: lists come from elsewhere and may name anything."""
    path = PurePosixPath(entry)
    for mark in _FORBIDDEN:
        if mark in entry:
            raise InputError(where, f"{entry!r} has {mark!r} in it")
    if path.is_absolute():
        raise InputError(where, f"{entry!r} is absolute; entries start at the list's root")
    if ".." in path.parts:
        raise InputError(where, f"{entry!r} has '..' in it")
    if path.suffix.lower() not in VIDEO_SUFFIXES:
        raise InputError(where, f"{entry!r} is no video ({', '.join(VIDEO_SUFFIXES)})")
    return path
