"""Measures how long views take to answer about a job of 13,320 clips and 1,000,000 subtrees: ``make bench-views``."""

from __future__ import annotations

import io
import json
import os
import statistics
import time
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from benchmarks.report import write_report
from benchmarks.synthetic import REGION_SIZES, spec_of_game
from common.store.engine import open_engine
from migrations.schema import object_files, upgrade
from scheduler.embedded import start_stack

#: Clips of UCF101, and the subtrees, tasks, results and attempts of one job of that many.
CLIPS, SUBTREES, WORKERS = 13_320, 1_000_000, 64
#: Moves of each clip's bounds.
MOVES = 8
#: How often a view is asked once it is warm; the median counts.
REPEATS = 9
FOLDER = Path("build/bench/views")

FILL = """
SET session_replication_role = replica;
SET synchronous_commit = off;
INSERT INTO jobs (id, digest, spec, budget_points, created_at)
    VALUES (1, 'seen', CAST(:spec AS jsonb), 1000000000000, now() - interval '1 day');
INSERT INTO workers (id, info, attempts, video_id) SELECT 'worker-' || n, jsonb_build_object('host', 'node' || n / 8,
        'pid', n, 'device', 'cuda', 'versions', jsonb_build_object('gpu', 'NVIDIA H100', 'torch', '2.13.0')),
        :subtrees / :workers, n FROM generate_series(0, :workers - 1) n;
INSERT INTO videos (id, job_id, path, label, status, verdict, reason, clip_digest, prepared_at, finished_at, predicted,
                    margin, region_sizes, radius_cost, points_total, points_needed, points_explored, seconds, lipschitz,
                    closest_point, closest_margin)
    SELECT n, 1, '/seen/' || n, 'class ' || n % 101, s.status, s.verdict, s.reason, repeat('a', 64), now(),
        CASE WHEN s.status <> 'exploring' THEN now() END,
        'class ' || CASE s.verdict WHEN 'misclassified' THEN -1 ELSE n % 101 END,
        1, CAST(:sizes AS jsonb), 768, 147918177, 147918177, 75 * 250, 75 * 5, 0.25, '[[0, 1], [1, 1]]', 0.125
    FROM generate_series(1, :clips) n,
        LATERAL (SELECT
            CASE n % 10 WHEN 0 THEN 'failed' WHEN 1 THEN 'exploring' ELSE 'done' END AS status,
            CASE n % 10 WHEN 0 THEN 'failed' WHEN 1 THEN 'open' WHEN 2 THEN 'misclassified'
                WHEN 3 THEN 'robust' ELSE 'solved' END AS verdict,
            CASE n % 10 WHEN 0 THEN 'no frames' END AS reason) s;
INSERT INTO bounds (video_id, lower, upper)
    SELECT id, 600, CASE WHEN verdict <> 'robust' THEN 600 END FROM videos WHERE verdict <> 'misclassified';
INSERT INTO bound_events (video_id, lower, upper, at)
    SELECT b.video_id, 600 * n / :moves, 1200 - 600 * n / :moves, now() - interval '1 day' * (:moves - n) / :moves
    FROM bounds b, generate_series(1, :moves) n;
INSERT INTO subtrees (id, video_id, prefix, first, last, floor, threshold, lower)
    SELECT n, 1 + n % :clips, '[[0, 1], [1, 1], [2, 1]]', 0, 2, 512, 769, 769 FROM generate_series(1, :subtrees) n;
INSERT INTO tasks (id, video_id, job_id, kind, subtree_id, state, attempt, worker_id, announced_at, created_at,
                   finished_at)
    SELECT n, 1 + n % :clips, 1, 'explore', n, 'merged', 1, 'worker-' || n % :workers, s.at, s.at, s.at
    FROM generate_series(1, :subtrees) n,
        LATERAL (SELECT now() - interval '1 day' * (:subtrees - n) / :subtrees AS at) s;
INSERT INTO tasks (id, video_id, job_id, kind, state, attempt, worker_id, announced_at, created_at, finished_at)
    SELECT :subtrees + 4 * n + k.place, n, 1, k.kind, 'merged', 1, 'worker-' || n % :workers, now(), now(), now()
    FROM generate_series(1, :clips) n,
        (VALUES (0, 'prepare'), (1, 'attack'), (2, 'estimate'), (3, 'bound')) k (place, kind);
INSERT INTO attempts (task_id, attempt, worker_id, started_at, ended_at, outcome, reason)
    SELECT id, 1, worker_id, finished_at, finished_at, CASE WHEN id % 200 = 0 THEN 'expired' ELSE 'returned' END,
        CASE WHEN id % 200 = 0 THEN 'worker ' || worker_id || ' fell silent' END FROM tasks;
INSERT INTO results (task_id, attempt, worker_id, payload, seconds, appended_at)
    SELECT id, 1, worker_id, CASE kind WHEN 'explore' THEN CAST(:explored AS jsonb) ELSE '{}' END, 5, finished_at
    FROM tasks;
INSERT INTO witnesses (video_id, task_id, point, cost, replayed, margin, predicted)
    SELECT id, :subtrees + 4 * id + 1, '[[0, 1], [1, 1]]', 600, true, -1, 'class -1'
    FROM videos WHERE verdict = 'solved';
INSERT INTO real_witnesses (video_id, task_id, moves, distance, replayed, margin, predicted)
    SELECT id, :subtrees + 4 * id + 1, '[[0, 0.5]]', 590, true, -1, 'class -1'
    FROM videos WHERE verdict = 'solved';
INSERT INTO lipschitz_estimates (video_id, task_id, constant, location, greatest, confidence, fit, samples, seed)
    SELECT id, :subtrees + 4 * id + 2, 0.25, 0.2, 0.2, 0.95, 0.5, 16, 7 FROM videos WHERE verdict <> 'failed';
INSERT INTO certificates (video_id, task_id, radius, margin_bound, checks)
    SELECT id, :subtrees + 4 * id + 3, 2, 0.1, 4 FROM videos WHERE verdict <> 'failed';
INSERT INTO work_totals (job_id, worker_id, kind, tasks, points, seconds)
    SELECT t.job_id, r.worker_id, t.kind, count(*), count(r.payload -> 'explored') * 250, sum(r.seconds)
    FROM tasks t JOIN results r ON r.task_id = t.id GROUP BY 1, 2, 3;
INSERT INTO work_minutes (job_id, minute, began_at, tasks, points, seconds)
    SELECT t.job_id, date_trunc('minute', t.finished_at), min(t.finished_at), count(*),
        count(r.payload -> 'explored') * 250, sum(r.seconds)
    FROM tasks t JOIN results r ON r.task_id = t.id GROUP BY 1, 2;
-- Some are at work just now, on what is still open.
INSERT INTO subtrees (id, video_id, prefix, first, last, floor, threshold, lower)
    SELECT :subtrees + n, 10 * n - 9, '[[0, 1]]', 2, 4, 512, 769, 512 FROM generate_series(1, :clips / 20) n;
INSERT INTO tasks (id, video_id, job_id, kind, subtree_id, state, attempt, worker_id, announced_at, lease_until)
    SELECT 2 * :subtrees + n, 10 * n - 9, 1, 'explore', :subtrees + n,
        CASE WHEN n <= :workers THEN 'leased' ELSE 'ready' END, 1, 'worker-' || n % :workers, now(),
        CASE WHEN n <= :workers THEN now() + interval '1 hour' END FROM generate_series(1, :clips / 20) n;
INSERT INTO attempts (task_id, attempt, worker_id) SELECT id, 1, worker_id FROM tasks WHERE state = 'leased';
RESET session_replication_role;
VACUUM ANALYZE;
"""

#: What is asked of a view with a row for each task or each move of a bound: what belongs to one clip, or to one task.
ONE = {"bound_trace": "video_id = 11", "clip_explorations": "video_id = 11", "attempt_devices": "task = 11"}
#: Views that are asked for all they have, as the dashboard of a cluster asks.
WHOLE = {"job_progress", "worker_activity", "queue"}


def views() -> list[str]:
    """Names of all views."""
    return sorted(path.stem for path in object_files() if path.parent.name == "views")


def question(view: str) -> str:
    """What a dashboard asks of a view."""
    return f"SELECT * FROM {view}" if view in WHOLE else f"SELECT * FROM {view} WHERE {ONE.get(view, 'job_id = 1')}"


def fill(engine: sa.Engine, clips: int = CLIPS, subtrees: int = SUBTREES) -> None:
    """Write a job of so many clips and explored subtrees into a database that is new."""
    spec = spec_of_game("seen", 3).model_copy(update={"continuous": True, "lipschitz": "estimated"})
    explored = {"stop": "exhausted", "position": None, "explored": 250, "reached": 769, "undecided": None}
    values = {
        "clips": clips, "subtrees": subtrees, "workers": WORKERS, "moves": MOVES, "spec": spec.model_dump_json(),
        "sizes": json.dumps(REGION_SIZES), "explored": json.dumps(explored),
    }  # fmt: skip
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        for statement in FILL.split(";\n"):
            if statement.strip():
                used = {key: value for key, value in values.items() if f":{key}" in statement}
                connection.execute(sa.text(statement), used)


class _Counter(io.RawIOBase):
    """Takes rows in, as their text, and counts them."""

    rows = 0

    def write(self, text: Any) -> int:
        self.rows += bytes(text).count(b"\n")
        return len(text)


def measure(engine: sa.Engine) -> dict[str, float]:
    """Milliseconds until the last row of each view's answer has arrived, as text, and how many rows these are.

    What a client makes of the rows is its own: SQLAlchemy takes three times as long as the database. Beside it what the
    database's process computed: where others use the machine, it waits for a core for the rest.
    """
    figures: dict[str, float] = {}
    connection = engine.raw_connection()
    process = connection.cursor()
    process.execute("SELECT pg_backend_pid()")
    ((pid,),) = process.fetchall()
    for view in views():
        spans, computed = [], 0.0
        for repeat in range(REPEATS + 1):
            counter = _Counter()
            begun, computed = time.perf_counter(), computed if repeat > 1 else _computed_ms(pid)
            connection.cursor().copy_expert(f"COPY ({question(view)}) TO STDOUT", counter)
            spans.append((time.perf_counter() - begun) * 1000)
            connection.rollback()
        figures[f"{view}_ms"] = statistics.median(spans[1:])
        figures[f"{view}_computed_ms"] = (_computed_ms(pid) - computed) / REPEATS
        figures[f"{view}_rows"] = counter.rows
    connection.close()
    return figures


def _computed_ms(pid: int) -> float:
    """Milliseconds of a core that a process has had, to the hundredth of a second."""
    user, system = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11:13]
    return (int(user) + int(system)) * 1000 / os.sysconf("SC_CLK_TCK")


def main() -> None:
    """Fill a database, ask every view, and write ``build/bench/views.json``."""
    with start_stack(FOLDER) as stack:
        engine = open_engine(stack.urls.database_url)
        upgrade(engine)
        with engine.connect() as connection:
            if not connection.execute(sa.text("SELECT count(*) FROM jobs")).scalar():
                fill(engine)
        figures = measure(engine)
        engine.dispose()
    slowest = max(figures[f"{view}_ms"] for view in views())
    write_report("views", {"clips": CLIPS, "subtrees": SUBTREES, "slowest_view_ms": slowest, **figures})


if __name__ == "__main__":
    main()
