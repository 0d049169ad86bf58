"""Decides which clips a list names: one of UCF101's official lists, lines of their kind, or a CSV manifest."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from common.errors import InputError
from common.printable import is_printable
from common.wire import MOST_NAME
from scheduler.intake.paths import read_text

VIDEO_SUFFIXES = (".avi", ".mp4", ".mkv", ".mov", ".webm", ".m4v")
LIST_SUFFIXES = (".txt", ".csv")
#: What OpenCV, FFmpeg or the operating system would take for something else than a file's name.
_FORBIDDEN = ("%", "!", "://", "\0")
#: Bytes of a list, characters of a line, and clips, above which it is no list of clips.
MOST_BYTES, MOST_LINE, MOST_CLIPS = 2**26, 4096, 2**20


@dataclass(frozen=True)
class Entry:
    """A clip as a list names it."""

    line: int
    path: PurePosixPath  #: relative to the list's root
    label: str  #: what the list says, or the class folder
    number: int | None = None  #: the class's number, which train lists give


def read_list(file: Path) -> list[Entry]:
    """Read ``Class/clip.avi`` lines, those of UCF101's train lists with a number after them, or a CSV manifest.

    Raises InputError, which names the line, for what is no plain relative path to a video, is too long, or is named
    twice, also where only the case of letters differs.
    """
    text = _text(file)
    seen: dict[str, tuple[int, PurePosixPath]] = {}
    entries: list[Entry] = []
    for line, written, given, number in _table(file, text) if file.suffix.lower() == ".csv" else _lines(text):
        where = f"{file} line {line}"
        path = _accepted(written, where)
        earlier, other = seen.setdefault(path.as_posix().casefold(), (line, path))
        if earlier != line:
            how = "is already in" if other == path else f"differs only in case from {str(other)!r} in"
            raise InputError(where, f"{written!r} {how} line {earlier}")
        label = given or path.parent.name
        if not label:
            raise InputError(where, f"{written!r} has no class folder; expected Class/clip.avi")
        if len(label) > MOST_NAME:
            raise InputError(where, f"has a label of more than {MOST_NAME} characters")
        if not is_printable(label):
            raise InputError(where, f"has a label with unprintable characters: {label!r}")
        if len(entries) == MOST_CLIPS:
            raise InputError(where, f"is beyond the {MOST_CLIPS:,} clips that a list may have")
        entries.append(Entry(line, path, label, number))
    return entries


def _text(file: Path) -> str:
    """A list's text; a line that is too long is refused before it is taken apart."""
    text = read_text(file, MOST_BYTES, "list of clips")
    for line, written in enumerate(text.split("\n"), start=1):
        if len(written) > MOST_LINE:
            raise InputError(f"{file} line {line}", f"has more than {MOST_LINE} characters")
    return text


Row = tuple[int, str, str | None, int | None]


def _table(file: Path, text: str) -> Iterator[Row]:
    """Line number, path and label of each row: the columns of these names, or else the first two."""
    rows = csv.reader(io.StringIO(text))
    columns: tuple[int, int] | None = None
    try:
        for row in rows:
            if not any(cell.strip() for cell in row):
                continue
            if columns is None:
                header = [cell.strip().lower() for cell in row]
                columns = _columns(header)
                if "path" in header:
                    continue
            path, label = (row[column].strip() if column < len(row) else None for column in columns)
            yield rows.line_num, path or "", label, None
    except csv.Error as error:
        raise InputError(f"{file} line {rows.line_num}", f"is no CSV: {error}") from error


def _columns(header: list[str]) -> tuple[int, int]:
    """Columns of path and label."""
    if "path" not in header:
        return 0, 1
    return header.index("path"), header.index("label") if "label" in header else len(header)


def _lines(text: str) -> Iterator[Row]:
    """Line number and path of each line, and the number after it."""
    for line, written in enumerate(text.split("\n"), start=1):
        path, number = written.strip(), None
        words = path.rsplit(maxsplit=1)
        if len(words) == 2 and words[1].isdecimal():
            path, number = words[0], int(words[1])
        if path:
            yield line, path, None, number


def _accepted(written: str, where: str) -> PurePosixPath:
    """Refuse what is no plain relative path to a video: lists come from elsewhere and may name anything."""
    path = PurePosixPath(written)
    for mark in _FORBIDDEN:
        if mark in written:
            raise InputError(where, f"{written!r} has {mark!r} in it")
    if not is_printable(written):
        raise InputError(where, f"{written!r} has unprintable characters")
    if path.is_absolute():
        raise InputError(where, f"{written!r} is absolute; entries start at the list's root")
    if ".." in path.parts:
        raise InputError(where, f"{written!r} has '..' in it")
    if path.suffix.lower() not in VIDEO_SUFFIXES:
        raise InputError(where, f"{written!r} is no video ({', '.join(VIDEO_SUFFIXES)})")
    return path
