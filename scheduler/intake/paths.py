"""Decides which file a path means that a user has written, and how much of a text file is read."""

from __future__ import annotations

from pathlib import Path

from common.confine import follow
from common.errors import InputError
from common.printable import brief, is_printable


def user_path(given: str | Path, where: str, base: Path | None = None) -> Path:
    """Fill in the home folder and make a path absolute, links kept; raises InputError at ``where``.

    A relative one starts in ``base``, or where the command was called.
    """
    if not is_printable(str(given)):
        raise InputError(where, f"{brief(str(given))} has unprintable characters")
    try:
        return ((base or Path()) / Path(given).expanduser()).absolute()
    except RuntimeError as error:
        raise InputError(where, f"{brief(str(given))} names the home folder of a user there is not") from error


def real_path(path: Path, where: str) -> Path:
    """Follow a path's links; raises InputError at ``where`` when they lead round in a circle."""
    try:
        return follow(path)
    except OSError as error:
        raise InputError(where, f"{path} cannot be followed to a file; its links lead round in a circle") from error


def is_file(path: Path) -> bool:
    """Whether a path is an ordinary file; one too long to be any is none."""
    try:
        return path.is_file()
    except OSError:
        return False


def read_text(file: Path, most: int, what: str) -> str:
    """Read a text file of at most ``most`` bytes, for it is to be ``what``; raises OSError, and InputError for others.

    A mark of the byte order in front is left out.
    """
    with file.open("rb") as opened:
        data = opened.read(most + 1)
    if len(data) > most:
        raise InputError(str(file), f"has more than {most} bytes; that is no {what}")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(str(file), "is not UTF-8 text") from error
