"""Decides which files a report may touch: it is written into a folder that is new, empty, or an earlier report."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from common.errors import InputError

#: The file that says that a folder is a report, and may be written anew.
MARKER = ".flowcert-report"
_MARK = "This folder is written by flowcert report, which replaces its own files in it.\n"
#: What is being written; it takes its place when it is complete.
_STAGING = ".flowcert-report.new"


@contextmanager
def report_folder(out: Path) -> Iterator[Path]:
    """Give an empty folder to write a report to; without an error, what is in it replaces the report in ``out``.

    Other files in ``out`` are left alone. Raises InputError for a folder that holds anything but an earlier report, and
    where it cannot be written to.
    """
    try:
        _claim(out)
        staging = out / _STAGING
        shutil.rmtree(staging, ignore_errors=True)
        staging.mkdir()
    except OSError as error:
        raise InputError("--out", f"{out}: cannot be written to ({error.strerror})") from error
    try:
        yield staging
        _replace(staging, out)
    except OSError as error:
        raise InputError("--out", f"{error.filename or out}: cannot be written ({error.strerror})") from error
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _claim(out: Path) -> None:
    out.mkdir(parents=True, exist_ok=True)
    if (out / MARKER).is_file():
        return
    if any(out.iterdir()):
        raise InputError("--out", f"{out}: is neither empty nor an earlier report; give another folder")
    (out / MARKER).write_text(_MARK, encoding="utf-8")


def _replace(staging: Path, out: Path) -> None:
    for written in sorted(staging.iterdir()):
        there = out / written.name
        if there.is_dir() and not there.is_symlink():
            shutil.rmtree(there)
        written.replace(there)


def is_file(path: str) -> bool:
    """Whether a clip's file is there to be looked at."""
    try:
        return Path(path).is_file()
    except (OSError, ValueError):  # A name that no file can have.
        return False
