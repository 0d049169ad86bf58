"""Every hot query finds what it needs by an index when a job has a million subtrees: no plan scans a big table.

The plans are those with which the functions themselves run, nested statements of SQL functions and constraint triggers
included: PostgreSQL's ``auto_explain`` reports each as it is executed.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.orm import Session

from benchmarks.synthetic import REGION_SIZES, spec_of_game
from common.store.engine import open_engine
from common.store.tables import Job, Video
from common.vocab import VideoStatus
from scheduler.announce import choose, live_workers
from scheduler.clips import spec_of
from scheduler.embedded import EmbeddedStack
from scheduler.exploration import plan
from scheduler.frontier import frontier_bound, live_tasks
from scheduler.loop import _finish_jobs
from scheduler.merge import merge_returned
from scheduler.pace import Pace
from scheduler.planning import plan_all
from scheduler.reap import reap
from tests.conftest import TEMPLATE, _administer, _create, _url

#: Subtrees that are done, in a few clips; and clips of another job that wait for their first task.
DONE, HOT, WAITING = 1_000_000, 8, 13_320
BIG = {"tasks", "subtrees", "results", "attempts"}
WORKERS = 64

FILL = """
SET session_replication_role = replica;
SET synchronous_commit = off;
INSERT INTO jobs (id, digest, spec, budget_points) VALUES (1, 'hot', CAST(:spec AS jsonb), 1000000000000);
INSERT INTO jobs (id, digest, spec, budget_points) VALUES (2, 'waiting', CAST(:spec AS jsonb), 1000000000000);
INSERT INTO workers (id, info)
    SELECT 'worker-' || n, jsonb_build_object('program', (SELECT program FROM schema_objects))
    FROM generate_series(1, :workers) n;
INSERT INTO videos (id, job_id, path, label, status, clip_digest, prepared_at, predicted, margin, region_sizes,
                    radius_cost, points_total, points_needed, floor, threshold)
    SELECT n, 1, '/hot/' || n, 'walk', 'exploring', repeat('a', 64), now(), 'walk', 1, CAST(:sizes AS jsonb), 768,
        147918177, 147918177, 512, 769 FROM generate_series(1, :hot) n;
INSERT INTO bounds (video_id, lower) SELECT n, 512 FROM generate_series(1, :hot) n;
INSERT INTO videos (id, job_id, path, label)
    SELECT :hot + n, 2, '/waiting/' || n, 'walk' FROM generate_series(1, :waiting) n;
-- What is done need not be a game's; what is open is.
INSERT INTO subtrees (id, video_id, prefix, first, last, floor, threshold, lower)
    SELECT n, 1 + n % :hot, '[[0, 1], [1, 1], [2, 1]]', 0, 2, 512, 769, 769 FROM generate_series(1, :done) n;
INSERT INTO subtrees (id, video_id, prefix, first, last, floor, threshold, lower)
    SELECT :done + n, 1 + n % :hot, '[[0, 1]]', 2 + 2 * n, 4 + 2 * n, 512, 769, 512 FROM generate_series(1, 400) n;
INSERT INTO tasks (id, job_id, video_id, kind, subtree_id, state, attempt, worker_id, announced_at, finished_at)
    SELECT n, 1, 1 + n % :hot, 'explore', n, 'merged', 1, 'worker-' || 1 + n % :workers, now(), now()
    FROM generate_series(1, :done) n;
INSERT INTO tasks (id, job_id, video_id, kind)
    SELECT :done + n, 2, :hot + n, 'prepare' FROM generate_series(1, :waiting) n;
INSERT INTO tasks (id, job_id, video_id, kind, subtree_id, state, attempt, worker_id, announced_at, lease_until)
    SELECT 2 * :done + n, 1, 1 + n % :hot, 'explore', :done + n,
        CASE WHEN n <= 64 THEN 'leased' WHEN n <= 192 THEN 'returned' ELSE 'ready' END, 1,
        'worker-' || 1 + n % :workers, now(), CASE WHEN n <= 64 THEN now() + interval '1 hour' END
    FROM generate_series(1, 300) n;
INSERT INTO attempts (task_id, attempt, worker_id, ended_at, outcome)
    SELECT id, 1, worker_id, now(), 'returned' FROM tasks WHERE state IN ('merged', 'returned');
INSERT INTO attempts (task_id, attempt, worker_id) SELECT id, 1, worker_id FROM tasks WHERE state = 'leased';
INSERT INTO results (task_id, attempt, worker_id, payload, seconds, appended_at)
    SELECT id, 1, worker_id, '{"explored": 1}', 5, now() - interval '1 hour' FROM tasks WHERE state = 'merged';
INSERT INTO results (task_id, attempt, worker_id, payload, seconds)
    SELECT t.id, 1, t.worker_id, jsonb_build_object('stop', 'exhausted', 'position', NULL, 'explored', 0,
        'reached', 512, 'undecided', NULL, 'witness', NULL), 5
    FROM tasks t WHERE t.state = 'returned';
SELECT setval('subtrees_id_seq', 3 * :done), setval('tasks_id_seq', 3 * :done);
"""


@pytest.fixture(scope="module")
def scale(stack: EmbeddedStack) -> Iterator[sa.Engine]:
    """A database with a million subtrees explored, whose statistics say so."""
    name = "test_plans_at_scale"
    _create(stack, name, TEMPLATE)
    engine = open_engine(_url(stack, name))
    numbers = {"done": DONE, "hot": HOT, "waiting": WAITING, "workers": WORKERS}
    texts = {"spec": spec_of_game("scale", 3).model_dump_json(), "sizes": json.dumps(REGION_SIZES)}
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        for statement in FILL.split(";\n"):
            if statement.strip():
                used = {key: value for key, value in {**numbers, **texts}.items() if f":{key}" in statement}
                connection.execute(sa.text(statement), used)
        connection.execute(sa.text("RESET session_replication_role"))
        connection.execute(sa.text("VACUUM ANALYZE"))
    yield engine
    engine.dispose()
    _administer(stack, f'DROP DATABASE "{name}" WITH (FORCE)')


class Notices(list[str]):
    """What the server said; SQLAlchemy empties the list after each statement, by assignment, and is not let."""

    def __setitem__(self, *_: object) -> None:
        pass


@pytest.fixture
def session(scale: sa.Engine) -> Iterator[Session]:
    """A session whose every statement's plan is reported; what it does is undone."""
    with scale.connect() as connection:
        connection.exec_driver_sql("LOAD 'auto_explain'")
        for name, value in {
            "auto_explain.log_min_duration": "0", "auto_explain.log_nested_statements": "on",
            "auto_explain.log_format": "json", "auto_explain.log_level": "notice", "client_min_messages": "notice",
        }.items():  # fmt: skip
            connection.exec_driver_sql(f"SET {name} = {value}")
        connection.commit()
        connection.connection.driver_connection.notices = Notices()
        with Session(connection, autoflush=False) as opened:
            yield opened
            opened.rollback()


def plans(session: Session) -> list[dict[str, Any]]:
    """Plans of the statements since the last time."""
    notices = session.connection().connection.driver_connection.notices
    found = [json.loads(notice[notice.index("{") :]) for notice in notices if "plan:" in notice]
    notices.clear()
    return found


def nodes(plan_node: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """A plan's nodes; of one right below a limit, as many rows are read as that lets through."""
    yield plan_node
    for below in plan_node.get("Plans", []):
        limited = {"Plan Rows": plan_node["Plan Rows"]} if plan_node["Node Type"] == "Limit" else {}
        yield from nodes({**below, **limited})


def assert_by_index(session: Session, least: int = 1) -> None:
    """Every statement since the last time reached big tables by indexes, and expected to read few of their rows."""
    found = plans(session)
    assert len(found) >= least
    touched = set()
    for report in found:
        for node in nodes(report["Plan"]):
            if node.get("Relation Name") in BIG:
                touched.add(node["Relation Name"])
                assert node["Node Type"] != "Seq Scan", (node["Relation Name"], report["Query Text"], node)
                assert node["Plan Rows"] < DONE / 20, (node["Relation Name"], report["Query Text"], node)
    assert touched, [report["Query Text"] for report in found]


def test_a_scan_of_a_big_table_would_be_noticed(session: Session) -> None:
    session.execute(sa.text("SELECT count(*) FROM tasks WHERE attempt = 2")).all()
    with pytest.raises(AssertionError, match="tasks"):
        assert_by_index(session)


@pytest.mark.parametrize("task", [2_000_200, 1_000_007], ids=["explore", "prepare, not announced"])
def test_claims_beats_and_results_read_no_big_table_whole(session: Session, task: int) -> None:
    claim = session.scalar(sa.text("SELECT worker_claim(:task, 'worker-1', 60)"), {"task": task})
    assert claim["attempt"] >= 1
    assert_by_index(session, 5)
    mine = {"task": claim["task"], "attempt": claim["attempt"]}
    session.execute(sa.text("SELECT worker_beat('worker-1', '{}', :task, :attempt, 60)"), mine)
    assert_by_index(session, 3)
    append = "SELECT worker_append(:task, :attempt, 'worker-1', '{}', 1, NULL, false)"
    assert session.scalar(sa.text(append), mine) == "accepted"
    assert_by_index(session, 4)


def test_announcing_reads_no_big_table_whole(session: Session) -> None:
    assert len(choose(session, WORKERS, 10, Pace(10.0).shares)) > 100
    assert_by_index(session, 2)
    assert live_workers(session, 60) == WORKERS


def test_reaping_reads_no_big_table_whole(session: Session) -> None:
    session.execute(sa.text("UPDATE tasks SET lease_until = now() - interval '1 s' WHERE id = 2000003"))
    plans(session)
    reap(session, 3, 60.0)
    assert_by_index(session, 4)


def test_merging_reads_no_big_table_whole(session: Session) -> None:
    pace = Pace(10.0)
    while merge_returned(session, pace)[1]:
        pass
    session.flush()
    merged = session.scalar(
        sa.text("SELECT count(*) FROM tasks WHERE id > 2000000 AND state IN ('merged', 'cancelled')")
    )
    assert_by_index(session, 10)
    assert merged >= 128


def test_planning_a_level_reads_no_big_table_whole(session: Session) -> None:
    video = session.get_one(Video, 1)
    spec = spec_of(session.get_one(Job, 1))
    assert plan(session, video, spec, budget=10**12, task_points=200, room=30, workers=WORKERS) == 30
    assert live_tasks(session, video) > 30
    assert frontier_bound(session, video) == (512, False)
    assert_by_index(session, 5)


def test_a_round_of_planning_reads_no_big_table_whole(session: Session) -> None:
    plan_all(session, Pace(10.0), WORKERS, 20)
    _finish_jobs(session)
    assert_by_index(session, 5)
    assert session.get_one(Video, 1).status == VideoStatus.EXPLORING


@pytest.mark.parametrize("view", ["job_progress", "video_bounds", "video_guarantees", "bound_trace"])
def test_views_of_one_job_read_no_big_table_whole(session: Session, view: str) -> None:
    session.execute(sa.text(f"SELECT * FROM {view} WHERE job_id = 1")).all()
    for report in plans(session):
        scanned = [n for n in nodes(report["Plan"]) if n.get("Relation Name") in BIG and n["Node Type"] == "Seq Scan"]
        assert not scanned
