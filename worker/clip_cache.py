"""Decides how arrays are kept on disk between tasks, so that a broken file or a full disk only costs time.

A file holds the SHA-256 of the rest, then an npz archive. What does not match is as good as absent; what cannot be
written is left out. Both are logged.
"""

from __future__ import annotations

import hashlib
import io
import os
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import structlog

_CHECKSUM_BYTES = 32

_log = structlog.get_logger()

Arrays = dict[str, npt.NDArray[Any]]


def load_arrays(entry: Path) -> Arrays | None:
    """Read stored arrays; None when there are none or the bytes are not those that were written."""
    try:
        content = entry.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        _log.warning("clip_cache.unreadable", entry=str(entry), reason=str(error))
        return None
    checksum, payload = content[:_CHECKSUM_BYTES], content[_CHECKSUM_BYTES:]
    if hashlib.sha256(payload).digest() != checksum:
        _log.warning("clip_cache.corrupt", entry=str(entry))
        return None
    with np.load(io.BytesIO(payload), allow_pickle=False) as archive:
        return dict(archive)


def store_arrays(entry: Path, arrays: Arrays) -> None:
    """Write arrays under ``entry`` in one step; readers see all or nothing, and a failure is logged, not raised."""
    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=False, **arrays)
    payload = buffer.getvalue()
    temporary: str | None = None
    try:
        entry.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=entry.parent, prefix=".", suffix=".tmp")
        with os.fdopen(handle, "wb") as file:
            file.write(hashlib.sha256(payload).digest())
            file.write(payload)
        Path(temporary).replace(entry)
    except OSError as error:
        _log.warning("clip_cache.not_stored", entry=str(entry), reason=str(error))
        if temporary is not None:
            Path(temporary).unlink(missing_ok=True)
