"""Decides what a report says of how its job can be repeated: versions, hashes, seeds, configuration and hardware."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import platform
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from sqlalchemy import Engine

from scheduler.report.pages.folder import is_file
from scheduler.report.rows import Row, job_row, job_worker_rows
from scheduler.report.summary import SEED

#: What a worker says of itself beside its versions.
_PLACE = ("host", "device")


@dataclass(frozen=True)
class Provenance:
    """Everything but the clips' own hashes."""

    facts: Sequence[tuple[str, str]]
    workers: Sequence[Row]  #: one for each kind: host, device, versions, and how many were alike
    configuration: str  #: the job's specification, as JSON
    missing: Sequence[str]  #: what is gone or has changed since, in words


def read_provenance(engine: Engine, job_id: int, clips: Sequence[Row]) -> Provenance:
    """Read what is stored of a job, and look whether its files are still there."""
    job = job_row(engine, job_id)
    spec, model = job["spec"], job["spec"]["model"]
    facts = [
        ("written", datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")),
        ("by", f"flowcert {importlib.metadata.version('flowcert')}, Python {platform.python_version()}"),
        ("job", f"{job_id}, {job['status']}, digest {job['digest']}"),
        ("submitted", _time(job["created_at"])),
        ("finished", _time(job["finished_at"])),
        ("dataset", spec["dataset"]),
        ("clips", f"{len(clips):,}; their hashes are in sha256.txt"),
        ("model", f"{model['name']}, {len(model['classes'])} classes"),
        ("weights", model["weights"]),
        ("weights SHA-256", model["sha256"]),
        ("budget", f"{job['budget_points']:,} points a clip"),
        ("seeds", f"attacks 0; estimates: the first 32 bits of a clip's digest; bootstrap {SEED}"),
    ]
    return Provenance(facts, list(_alike(job_worker_rows(engine, job_id))), _json(spec), list(_missing(model, clips)))


def hash_lines(model: Row, clips: Sequence[Row]) -> str:
    """SHA-256 of the weights and of each clip's file, as ``sha256sum --check`` reads them."""
    files = [(model["weights"], model["sha256"]), *((row["video"], row["video_sha256"]) for row in clips)]
    return "".join(_hash_line(path, digest) for path, digest in files if digest is not None)


def _hash_line(path: str, digest: str) -> str:
    escaped = path.replace("\\", "\\\\").replace("\n", "\\n").replace("\r", "\\r")
    # A backslash in front says that the name is escaped.
    return f"{'' if escaped == path else chr(92)}{digest}  {escaped}\n"


def _missing(model: Row, clips: Sequence[Row]) -> Iterator[str]:
    weights = Path(model["weights"])
    try:
        with weights.open("rb") as file:
            if hashlib.file_digest(file, "sha256").hexdigest() != model["sha256"]:
                yield f"{weights}: the weights have changed since the job was submitted"
    except (OSError, ValueError):
        yield f"{weights}: the weights are gone"
    gone = [row["video"] for row in clips if not is_file(row["video"])]
    if gone:
        yield f"{len(gone):,} of {len(clips):,} videos are gone, the first of them {gone[0]}"


def _alike(workers: Sequence[Row]) -> Iterator[Row]:
    """Workers that say the same of themselves, but for their process, are one row."""
    kinds: dict[str, list[Row]] = {}
    for worker in workers:
        place = {key: worker["info"].get(key) for key in (*_PLACE, "versions")}
        kinds.setdefault(json.dumps(place, sort_keys=True), []).append(worker)
    for same in kinds.values():
        info = same[0]["info"]
        versions = ", ".join(f"{key} {value}" for key, value in info.get("versions", {}).items() if value is not None)
        tasks = sum(worker["returned"] for worker in same)
        yield {**{key: info.get(key) for key in _PLACE}, "versions": versions, "workers": len(same), "tasks": tasks}


def _json(value: Row) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False)


def _time(moment: datetime | None) -> str:
    return "not yet" if moment is None else moment.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
