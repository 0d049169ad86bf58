"""Decides which files may be read: those that lie, links followed, in one of the configured data roots.

That is asked before a file is opened, by its name, for that is how OpenCV opens videos: it holds against whoever names
files, not against whoever can exchange them inside a root (docs/security.md).
"""

from __future__ import annotations

import errno
import os
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
        return f"cannot be followed to a file ({type(error).__name__})"
    return None if inside else "lies outside the data roots (FLOWCERT_DATA_ROOTS)"


def follow(path: Path) -> Path:
    """Follow links and ``..`` to the file, or to where it would be; OSError or RuntimeError for links in a circle."""
    real = path.resolve()
    # A link that is left leads to itself: Python raises no error over it any more, from 3.13 on.
    if any(part.is_symlink() for part in (real, *real.parents)):
        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), str(path))
    return real
