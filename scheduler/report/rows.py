"""Decides what is read for reports: rows of the views, and of tables only what a job's provenance is."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Engine, text

from common.errors import InputError

Row = dict[str, Any]
#: Word for the job submitted last.
LATEST = "latest"


def find_job(engine: Engine, name: str) -> int:
    """Id of the job a user names by its number or as ``latest``; raises InputError when there is none."""
    if name == LATEST:
        found = _read(engine, "SELECT job_id FROM job_progress ORDER BY created_at DESC, job_id DESC LIMIT 1")
        if not found:
            raise InputError("JOB", "there is no job yet; make one with flowcert submit or flowcert run")
        return int(found[0]["job_id"])
    # A bigint's nineteen digits bound what the database accepts.
    if name.isascii() and name.isdigit() and len(name) < 19:
        found = _read(engine, "SELECT job_id FROM job_progress WHERE job_id = :job", job=int(name))
        if found:
            return int(found[0]["job_id"])
    raise InputError("JOB", f"there is no job {name!r}; flowcert status lists them")


def progress_rows(engine: Engine) -> list[Row]:
    """All jobs, in order of submission."""
    return _read(engine, "SELECT * FROM job_progress ORDER BY job_id")


def job_progress(engine: Engine, job_id: int) -> Row:
    """One job's progress."""
    return _read(engine, "SELECT * FROM job_progress WHERE job_id = :job", job=job_id)[0]


def job_row(engine: Engine, job_id: int) -> Row:
    """One job's own row, with its specification."""
    return _read(engine, "SELECT * FROM jobs WHERE id = :job", job=job_id)[0]


def job_worker_rows(engine: Engine, job_id: int) -> list[Row]:
    """Workers that took a job's tasks: what each said of itself, and how many of them it returned."""
    query = (
        "SELECT w.id, w.info, count(*) FILTER (WHERE a.outcome = 'returned') AS returned"
        " FROM workers w JOIN attempts a ON a.worker_id = w.id JOIN tasks t ON t.id = a.task_id"
        " JOIN videos v ON v.id = t.video_id WHERE v.job_id = :job GROUP BY w.id ORDER BY w.id"
    )
    return _read(engine, query, job=job_id)


def clip_rows(engine: Engine, job_id: int) -> list[Row]:
    """Bounds of a job's clips, by path."""
    return _read(engine, "SELECT * FROM video_bounds WHERE job_id = :job ORDER BY video, video_id", job=job_id)


def guarantee_rows(engine: Engine, job_id: int) -> list[Row]:
    """Every route to a lower bound of a job's clips, clip by clip."""
    query = "SELECT * FROM video_guarantees WHERE job_id = :job ORDER BY video, video_id, place"
    return _read(engine, query, job=job_id)


def share_rows(engine: Engine, job_id: int) -> list[Row]:
    """A job's certified shares: measure by measure, guarantee by guarantee, by displacement."""
    query = "SELECT * FROM certified_share WHERE job_id = :job ORDER BY measure, guarantee, displacement"
    return _read(engine, query, job=job_id)


def class_rows(engine: Engine, job_id: int) -> list[Row]:
    """Counts and medians of a job's clips: of all of them, whose label is None, and then class by class."""
    return _read(engine, "SELECT * FROM class_robustness WHERE job_id = :job ORDER BY label NULLS FIRST", job=job_id)


def trace_rows(engine: Engine, job_id: int) -> list[Row]:
    """Every move of a bound of a job's clips, in order of time."""
    return _read(engine, "SELECT * FROM bound_trace WHERE job_id = :job ORDER BY at, video_id", job=job_id)


def witness_rows(engine: Engine, job_id: int) -> list[Row]:
    """The best grid witness of each clip of a job that has one, by path."""
    query = "SELECT * FROM clip_witnesses WHERE job_id = :job AND kind = 'grid' AND best ORDER BY video"
    return _read(engine, query, job=job_id)


def shown_witness_rows(engine: Engine, job_id: int) -> list[Row]:
    """The witness that is shown of each clip that has one: the best on the grid, or else the shortest real one."""
    query = (
        "SELECT DISTINCT ON (video_id) * FROM clip_witnesses WHERE job_id = :job AND best"
        " ORDER BY video_id, kind = 'real'"
    )
    return _read(engine, query, job=job_id)


def replayed_witness_rows(engine: Engine, job_id: int) -> tuple[list[Row], int]:
    """Witnesses of a job's clips that their replay confirmed, clip by clip; and how many it did not confirm."""
    query = "SELECT * FROM clip_witnesses WHERE job_id = :job ORDER BY video, kind, witness_id"
    rows = _read(engine, query, job=job_id)
    confirmed = [row for row in rows if row["replayed"]]
    return confirmed, len(rows) - len(confirmed)


def certificate_rows(engine: Engine, job_id: int) -> list[Row]:
    """Certified radii of a job's clips, clip by clip."""
    query = "SELECT * FROM clip_certificates WHERE job_id = :job ORDER BY video, certificate_id"
    return _read(engine, query, job=job_id)


def exploration_rows(engine: Engine, job_id: int, count: int, seed: int) -> list[Row]:
    """Up to ``count`` explore results of a job, drawn at random; the same seed draws the same."""
    query = "SELECT * FROM clip_explorations WHERE job_id = :job ORDER BY md5(task || ':' || :seed) LIMIT :count"
    return _read(engine, query, job=job_id, count=count, seed=str(seed))


def worker_rows(engine: Engine) -> list[Row]:
    """All workers that ever showed themselves, those seen last first."""
    return _read(engine, "SELECT * FROM worker_activity ORDER BY seen_at DESC, worker")


def _read(engine: Engine, query: str, **parameters: Any) -> list[Row]:
    with engine.connect() as connection:
        return [dict(row) for row in connection.execute(text(query), parameters).mappings()]
