"""Decides what is kept of an unfinished training, so that the same command goes on where it stopped."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from common.errors import InputError

_VERSION = 1


@dataclass(frozen=True)
class Row:
    """What was measured of one epoch; a row of the metrics file."""

    epoch: int
    loss: float
    train_accuracy: float  #: of the training clips, as the epoch met them
    validation_accuracy: float | None  #: of the validation clips, after the epoch; None without any
    seconds: float  #: that the epoch took, validation included


@dataclass
class Progress:
    """A training after some epochs."""

    parameters: dict[str, Tensor]  #: those that are trained, by name
    optimiser: dict[str, Any]
    rows: list[Row] = field(default_factory=list)


def load_checkpoint(path: Path, identity: dict[str, Any]) -> Progress | None:
    """Read what was kept of this very training; None when nothing was.

    Raises InputError when the file is unusable, or is of a training with other options, the first of which it names.
    """
    if not path.exists():
        return None
    try:
        kept = torch.load(path, weights_only=True, map_location="cpu")
        version, other = kept["version"], kept["identity"]
        progress = Progress(kept["parameters"], kept["optimiser"], [Row(**row) for row in kept["rows"]])
    except Exception as error:  # torch.load raises whatever a broken file provokes.
        raise InputError("out", f"{path}: is no checkpoint that can be read; delete it to start anew") from error
    names = [name for name in identity if other.get(name) != identity[name]]
    if version != _VERSION or names:
        what = _option(names[0]) if names else "version"
        raise InputError(
            "out", f"{path}: is of a training with another {what}; delete it to start anew, or name another file"
        )
    return progress


def store_checkpoint(path: Path, identity: dict[str, Any], progress: Progress) -> None:
    """Write what to keep, in one step."""
    kept = {
        "version": _VERSION,
        "identity": identity,
        "parameters": progress.parameters,
        "optimiser": progress.optimiser,
        "rows": [asdict(row) for row in progress.rows],
    }
    buffer = io.BytesIO()
    torch.save(kept, buffer)
    write_whole(path, buffer.getbuffer())


def store_metrics(path: Path, rows: Sequence[Row]) -> None:
    """Write the metrics of all epochs as CSV, in one step."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([each.name for each in fields(Row)])
    writer.writerows(["" if value is None else value for value in asdict(row).values()] for row in rows)
    write_whole(path, text.getvalue().encode())


def write_whole(path: Path, data: bytes | memoryview) -> None:
    """Write a file so that there is either the old or the new one, whole, whenever the program ends."""
    # Of a fixed name, so that an interruption at any moment leaves none behind, or one that the next run replaces.
    unfinished = path.with_name(f".{path.name}.unfinished")
    try:
        unfinished.write_bytes(data)
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)


def _option(name: str) -> str:
    return name if name.isupper() else f"--{name.replace('_', '-')}"
