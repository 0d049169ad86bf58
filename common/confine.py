"""Decides which files may be read: those that lie, links followed, in one of the configured data roots.

That is asked before a file is opened, by its name, for that is how OpenCV opens videos: it holds against whoever names
files, not against whoever can exchange them inside a root (docs/security.md).
"""

from __future__ import annotations

import errno
from collections.abc import Sequence
from pathlib import Path


def outside(path: Path, roots: Sequence[Path]) -> str | None:
    """Say why a file may not be read; None where it may: it lies in a root, or there are no roots.

    Links and ``..`` are followed in the path and in the roots. A file that is not there is judged by where it would be.
    """
    if not roots:
        return None
    try:
        real = follow(path)
        inside = any(real.is_relative_to(root.resolve()) for root in roots)
    except (OSError, RuntimeError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else type(error).__name__
        return f"cannot be followed to a file ({why})"
    return None if inside else "lies outside the data roots (FLOWCERT_DATA_ROOTS)"


def follow(path: Path) -> Path:
    """Follow links and ``..`` to the file, or to where it would be; raises OSError for links that lead in a circle."""
    try:
        real = path.resolve()
        # From Python 3.13 on, what leads in a circle is left as a link.
        looped = any(part.is_symlink() for part in (real, *real.parents))
    except RuntimeError:
        looped = True
    if looped:
        raise OSError(errno.ELOOP, "its links lead in a circle", str(path))
    return real
