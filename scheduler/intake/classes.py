"""Decides how class names are read: from a file, or from a list with commas."""

from __future__ import annotations

from pathlib import Path

from common.errors import InputError
from common.printable import brief
from scheduler.intake.paths import is_file, read_text, user_path

#: Bytes of a file of class names above which it is none.
_MOST_CLASS_BYTES = 2**20


def read_classes(text: str) -> tuple[str, ...]:
    """Read class names from a file, one a line with or without UCF101's number in front, or a list with commas."""
    path = user_path(text, "classes") if "," not in text else Path(text)
    if not is_file(path):
        if "," not in text:
            raise InputError("classes", f"{brief(text)} is neither a file nor class names separated by commas")
        return tuple(name.strip() for name in text.split(",") if name.strip())
    try:
        lines = [
            line.split() for line in read_text(path, _MOST_CLASS_BYTES, "list of class names").splitlines() if line
        ]
    except (OSError, InputError) as error:
        reason = error.problem if isinstance(error, InputError) else "cannot be read as text"
        raise InputError("classes", f"{path}: {reason}") from error
    return tuple(" ".join(words[1:] if len(words) > 1 and words[0].isdigit() else words) for words in lines if words)
