"""Holds file locks that end with their process, however it ends."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from common.errors import ServerError

_held: set[int] = set()


def try_lock(path: Path) -> int | None:
    """Lock `path` without waiting; return the descriptor that holds the lock, or None where another holds it.

    Raises
    ------
    ServerError : the file is another user's, or its file system knows no locks.

    """
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BaseException:
            os.close(descriptor)
            raise
    except BlockingIOError:
        return None
    except OSError as error:
        raise ServerError(
            f"{path} cannot be locked ({error.strerror}): set FLOWCERT_DATA_DIR to a directory of your own"
        ) from error
    _held.add(descriptor)
    return descriptor


def close_lock(descriptor: int) -> None:
    """Close this process's descriptor; the lock ends when no started program has it open either."""
    _held.discard(descriptor)
    os.close(descriptor)


def _close_in_forked_child() -> None:
    # A lock is shared by all copies of its descriptor, so a forked child would hold it beyond its parent's death.
    for descriptor in _held:
        os.close(descriptor)
    _held.clear()


os.register_at_fork(after_in_child=_close_in_forked_child)
