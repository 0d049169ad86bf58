"""Every illegal row is refused by the database itself, whoever writes it; the worker role reaches no table."""

from __future__ import annotations

import math

import pytest
import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError, ProgrammingError

from common.store.engine import open_worker_engine
from common.store.tables import Base

#: One legal row of everything; each case below changes one thing that must not be.
LEGAL = """
INSERT INTO jobs (id, digest, spec, budget_points) VALUES (1, 'd', '{}', 10);
INSERT INTO workers (id, info) SELECT 'w', jsonb_build_object('program', program) FROM schema_objects;
INSERT INTO videos (id, job_id, path, label, status, clip_digest, prepared_at, predicted, margin, points_total,
                    points_needed, radius_cost, floor, threshold)
    VALUES (1, 1, '/a', 'walk', 'exploring', 'c', now(), 'walk', 1.5, 100, 40, 9, 0, 5);
INSERT INTO videos (id, job_id, path, label) VALUES (2, 1, '/b', 'walk');
INSERT INTO bounds (video_id, lower, upper) VALUES (1, 3, 7);
INSERT INTO subtrees (id, video_id, prefix, first, last, floor, threshold, lower) VALUES
    (1, 1, '[]', 0, 4, 0, 5, 2), (2, 1, '[]', 4, 8, 0, 5, 0);
INSERT INTO tasks (id, video_id, kind, subtree_id) VALUES (1, 1, 'explore', 1);
INSERT INTO tasks (id, video_id, kind, state, finished_at) VALUES (2, 1, 'prepare', 'merged', now());
INSERT INTO tasks (id, video_id, kind) VALUES (3, 2, 'prepare');
INSERT INTO attempts (task_id, attempt, worker_id) VALUES (2, 1, 'w');
INSERT INTO results (task_id, attempt, worker_id, payload, seconds) VALUES (2, 1, 'w', '{}', 1);
INSERT INTO witnesses (id, video_id, task_id, point, cost, replayed, margin, predicted)
    VALUES (1, 1, 2, '[]', 7, true, -1, 'run');
INSERT INTO real_witnesses (id, video_id, task_id, moves, distance, replayed, margin, predicted)
    VALUES (1, 1, 2, '[[0, 0.5]]', 0.5, true, -1, 'run');
INSERT INTO lipschitz_estimates (id, video_id, task_id, constant, location, greatest, confidence, fit, samples, seed)
    VALUES (1, 1, 2, 2, 2, 1, 0.95, 0.5, 16, 7);
INSERT INTO certificates (id, video_id, task_id, radius, margin_bound, checks) VALUES (1, 1, 2, 0.25, 0.1, 4);
INSERT INTO work_totals (job_id, worker_id, kind, tasks, points, seconds) VALUES (1, 'w', 'prepare', 1, 0, 1);
INSERT INTO work_minutes (job_id, minute, began_at, tasks, points, seconds) VALUES (1, '2026-11-27', now(), 1, 0, 1);
"""

ILLEGAL = {
    "ck_jobs_status_known": "UPDATE jobs SET status = 'asleep'",
    "ck_jobs_finished_when_finished": "UPDATE jobs SET status = 'done'",
    "ck_jobs_finished_when_finished ": "UPDATE jobs SET finished_at = now()",
    "ck_jobs_budget_positive": "UPDATE jobs SET budget_points = 0",
    "ck_jobs_finished_when_finished  ": "UPDATE jobs SET status = 'paused', finished_at = now()",
    "ck_jobs_generation_positive": "UPDATE jobs SET generation = 0",
    "ck_jobs_budget_clip_seconds_positive": "UPDATE jobs SET budget_clip_seconds = 0",
    "ck_jobs_budget_clip_seconds_positive ": "UPDATE jobs SET budget_clip_seconds = 'NaN'",
    "ck_jobs_budget_wall_seconds_positive": "UPDATE jobs SET budget_wall_seconds = -1",
    "ck_jobs_budget_wall_seconds_positive ": "UPDATE jobs SET budget_wall_seconds = 'Infinity'",
    "ck_jobs_priority_in_range": "UPDATE jobs SET priority = 1001",
    "ck_jobs_ran_seconds_finite": "UPDATE jobs SET ran_seconds = -1",
    "ck_jobs_ran_seconds_finite ": "UPDATE jobs SET ran_seconds = 'NaN'",
    "ck_jobs_clock_stands_unless_running": (
        "INSERT INTO jobs (id, digest, spec, budget_points, status, clock_since)"
        " VALUES (2, 'e', '{}', 1, 'paused', now())"
    ),
    "ck_work_totals_kind_known": "UPDATE work_totals SET kind = 'guess'",
    "ck_work_totals_counted": "UPDATE work_totals SET tasks = 0",
    "ck_work_totals_counted ": "UPDATE work_totals SET seconds = 'NaN'",
    "pk_work_totals": (
        "INSERT INTO work_totals (job_id, worker_id, kind, tasks, points, seconds) VALUES (1, 'w', 'prepare', 1, 0, 1)"
    ),
    "ck_work_minutes_counted": "UPDATE work_minutes SET points = -1",
    "ck_work_minutes_counted ": "UPDATE work_minutes SET seconds = 'Infinity'",
    "pk_work_minutes": (
        "INSERT INTO work_minutes (job_id, minute, began_at, tasks, points, seconds)"
        " VALUES (1, '2026-11-27', now(), 1, 0, 1)"
    ),
    "uq_jobs_digest_generation": "INSERT INTO jobs (id, digest, spec, budget_points) VALUES (2, 'd', '{}', 1)",
    "ck_videos_status_known": "UPDATE videos SET status = 'lost' WHERE id = 1",
    "ck_videos_verdict_known": "UPDATE videos SET verdict = 'safe' WHERE id = 1",
    "ck_videos_finished_when_finished": "UPDATE videos SET status = 'done' WHERE id = 1",
    "ck_videos_finished_when_finished ": "UPDATE videos SET finished_at = now() WHERE id = 1",
    "ck_videos_failed_says_why": "UPDATE videos SET status = 'failed', verdict = 'failed', finished_at = now()",
    "ck_videos_failed_says_why ": "UPDATE videos SET verdict = 'failed', reason = 'x' WHERE id = 1",
    "ck_videos_failed_says_why  ": "UPDATE videos SET status = 'failed', reason = 'x', finished_at = now()",
    "ck_videos_prepared_when_prepared": "UPDATE videos SET prepared_at = NULL WHERE id = 1",
    "ck_videos_prepared_when_prepared ": "UPDATE videos SET clip_digest = 'c' WHERE id = 2",
    "ck_videos_prepared_when_prepared   ": (
        "UPDATE videos SET status = 'done', verdict = 'solved', finished_at = now() WHERE id = 2"
    ),
    "ck_videos_prepared_when_prepared  ": "UPDATE videos SET status = 'exploring' WHERE id = 2",
    "ck_videos_misclassified_is": "UPDATE videos SET verdict = 'misclassified' WHERE id = 1",
    "ck_videos_margin_finite": "UPDATE videos SET margin = 'NaN'",
    "ck_videos_margin_finite ": "UPDATE videos SET margin = 'Infinity'",
    "ck_videos_margin_finite  ": "UPDATE videos SET margin = '-Infinity'",
    "ck_videos_seconds_finite": "UPDATE videos SET seconds = -1",
    "ck_videos_seconds_finite ": "UPDATE videos SET seconds = 'NaN'",
    "ck_videos_points": "UPDATE videos SET points_explored = -1",
    "ck_videos_points ": "UPDATE videos SET points_needed = 101 WHERE id = 1",
    "ck_videos_points  ": "UPDATE videos SET points_needed = -1 WHERE id = 1",
    "ck_videos_level_in_order": "UPDATE videos SET threshold = 0 WHERE id = 1",
    "ck_videos_level_in_order ": "UPDATE videos SET floor = -1 WHERE id = 1",
    "ck_videos_level_has_threshold": "UPDATE videos SET threshold = NULL WHERE id = 1",
    "ck_videos_lipschitz_finite": "UPDATE videos SET lipschitz = 'Infinity'",
    "ck_videos_lipschitz_finite ": "UPDATE videos SET lipschitz = 0",
    "ck_videos_closest_is_safe": "UPDATE videos SET closest_point = '[]', closest_margin = 0",
    "ck_videos_content_sha256_hex": "UPDATE videos SET content_sha256 = 'abc'",
    "ck_videos_closest_has_margin": "UPDATE videos SET closest_point = '[]'",
    "uq_videos_job_id_path": "UPDATE videos SET path = '/a'",
    "fk_videos_job_id": "UPDATE videos SET job_id = 7",
    "ck_bounds_lower_at_most_upper": "UPDATE bounds SET lower = 8",
    "ck_bounds_lower_at_most_upper ": "INSERT INTO bounds (video_id, lower, upper) VALUES (2, -1, 2)",
    "ck_bounds_lower_guarantee_known": "UPDATE bounds SET lower_guarantee = 'hope'",
    "pk_bounds": "INSERT INTO bounds (video_id, lower) VALUES (1, 0)",
    "ck_subtrees_interval_not_empty": "UPDATE subtrees SET last = first",
    "ck_subtrees_interval_not_empty ": "UPDATE subtrees SET first = -1",
    "ck_subtrees_lower_within_level": "UPDATE subtrees SET lower = 6",
    "ck_subtrees_lower_within_level ": "UPDATE subtrees SET lower = -1",
    "ck_tasks_kind_known": "UPDATE tasks SET kind = 'guess' WHERE id = 3",
    "ck_tasks_state_known": "UPDATE tasks SET state = 'lost' WHERE id = 1",
    "ck_tasks_explore_has_subtree": "UPDATE tasks SET subtree_id = NULL WHERE id = 1",
    "ck_tasks_explore_has_subtree ": "UPDATE tasks SET subtree_id = 2 WHERE id = 3",
    "ck_tasks_leased_has_lease": "UPDATE tasks SET state = 'leased' WHERE id = 1",
    "ck_tasks_leased_has_lease ": "UPDATE tasks SET state = 'leased', lease_until = now() WHERE id = 1",
    "ck_tasks_leased_has_lease  ": "UPDATE tasks SET lease_until = now(), worker_id = 'w' WHERE id = 1",
    "ck_tasks_finished_when_finished": "UPDATE tasks SET state = 'merged' WHERE id = 1",
    "ck_tasks_finished_when_finished ": "UPDATE tasks SET finished_at = now() WHERE id = 1",
    "ck_tasks_failed_says_why": "UPDATE tasks SET state = 'failed', finished_at = now() WHERE id = 1",
    "uq_tasks_live_subtree": "INSERT INTO tasks (id, video_id, kind, subtree_id) VALUES (9, 1, 'explore', 1)",
    "uq_tasks_live_video": "INSERT INTO tasks (id, video_id, kind) VALUES (9, 2, 'attack')",
    "ck_attempts_ended_has_outcome": "UPDATE attempts SET ended_at = now()",
    "ck_attempts_ended_has_outcome ": "UPDATE attempts SET outcome = 'returned'",
    "pk_attempts": "INSERT INTO attempts (task_id, attempt, worker_id) VALUES (2, 1, 'w')",
    "ck_results_seconds_finite": "INSERT INTO results VALUES (1, 1, 'w', '{}', 'Infinity', now())",
    "ck_results_seconds_finite ": "INSERT INTO results VALUES (1, 1, 'w', '{}', 'NaN', now())",
    "ck_results_seconds_finite  ": "INSERT INTO results VALUES (1, 1, 'w', '{}', -1, now())",
    "pk_results": "INSERT INTO results VALUES (2, 2, 'w', '{}', 1, now())",
    "ck_witnesses_margin_finite": "UPDATE witnesses SET margin = 'NaN', replayed = false, reason = 'x'",
    "ck_witnesses_margin_finite ": "UPDATE witnesses SET margin = '-Infinity'",
    "ck_witnesses_replayed_is_adversarial": "UPDATE witnesses SET margin = 0",
    "ck_witnesses_not_replayed_says_why": "UPDATE witnesses SET replayed = false",
    "ck_witnesses_not_replayed_says_why ": "UPDATE witnesses SET reason = 'x'",
    "uq_witnesses_task_id": (
        "INSERT INTO witnesses (id, video_id, task_id, point, cost, replayed, margin, predicted, reason)"
        " VALUES (2, 1, 2, '[]', 1, false, 0, 'run', 'x')"
    ),
    "ck_real_witnesses_margin_finite": "UPDATE real_witnesses SET margin = 'NaN', replayed = false, reason = 'x'",
    "ck_real_witnesses_margin_finite ": "UPDATE real_witnesses SET margin = '-Infinity'",
    "ck_real_witnesses_replayed_is_adversarial": "UPDATE real_witnesses SET margin = 0",
    "ck_real_witnesses_distance_finite": "UPDATE real_witnesses SET distance = 'Infinity'",
    "ck_real_witnesses_distance_finite ": "UPDATE real_witnesses SET distance = 0",
    "ck_real_witnesses_not_replayed_says_why": "UPDATE real_witnesses SET replayed = false",
    "uq_real_witnesses_task_id": (
        "INSERT INTO real_witnesses (id, video_id, task_id, moves, distance, replayed, margin, predicted)"
        " VALUES (2, 1, 2, '[]', 1, true, -1, 'run')"
    ),
    "ck_lipschitz_estimates_constant_finite": "UPDATE lipschitz_estimates SET constant = 'NaN'",
    "ck_lipschitz_estimates_constant_finite ": "UPDATE lipschitz_estimates SET greatest = 3",
    "ck_lipschitz_estimates_samples": "UPDATE lipschitz_estimates SET samples = 0",
    "ck_lipschitz_estimates_samples ": "UPDATE lipschitz_estimates SET confidence = 1",
    "uq_lipschitz_estimates_task_id": (
        "INSERT INTO lipschitz_estimates"
        " (id, video_id, task_id, constant, location, greatest, confidence, fit, samples, seed)"
        " VALUES (2, 1, 2, 2, 2, 1, 0.95, 0.5, 16, 7)"
    ),
    "ck_certificates_radius_finite": "UPDATE certificates SET radius = 'Infinity'",
    "ck_certificates_margin_bound_positive": "UPDATE certificates SET margin_bound = 0",
    "ck_certificates_radius_has_margin": "UPDATE certificates SET margin_bound = NULL",
    "ck_certificates_radius_has_margin ": "UPDATE certificates SET radius = 0, reason = 'x'",
    "ck_certificates_no_radius_says_why": "UPDATE certificates SET radius = 0, margin_bound = NULL",
    "ck_certificates_no_radius_says_why ": "UPDATE certificates SET reason = 'x'",
    "uq_certificates_task_id": (
        "INSERT INTO certificates (id, video_id, task_id, radius, margin_bound, checks) VALUES (2, 1, 2, 1, 1, 1)"
    ),
    "results is append-only": "UPDATE results SET seconds = 2",
    "results is append-only ": "DELETE FROM results",
    "bound_events is append-only": "UPDATE bound_events SET lower = 9",
    "bound_events is append-only ": "DELETE FROM bound_events",
    "lower bound of video 1 would fall from 3 to 2": "UPDATE bounds SET lower = 2",
    "upper bound of video 1 would rise from 7 to 8": "UPDATE bounds SET upper = 8",
    "upper bound of video 1 would rise from 7 to <NULL>": "UPDATE bounds SET upper = NULL",
}


def execute(engine: sa.Engine, statement: str) -> None:
    with engine.begin() as connection:
        connection.execution_options(no_parameters=True).exec_driver_sql(statement)


def test_illegal_rows_are_refused_by_name(engine: sa.Engine, subtests: pytest.Subtests) -> None:
    execute(engine, LEGAL)
    for refusal, statement in ILLEGAL.items():
        with subtests.test(refusal=refusal, statement=statement), pytest.raises(IntegrityError) as refused:
            execute(engine, statement)
        assert refusal.strip() in str(refused.value.orig)


def test_every_rule_of_the_tables_has_a_case() -> None:
    rules = {
        str(rule.name)
        for table in Base.metadata.tables.values()
        for rule in [*table.constraints, *table.indexes]
        if isinstance(rule, (sa.CheckConstraint, sa.UniqueConstraint)) or getattr(rule, "unique", False)
    }
    assert rules <= {refusal.strip() for refusal in ILLEGAL}


def test_bounds_may_tighten_and_leave_a_trace(engine: sa.Engine) -> None:
    execute(engine, LEGAL)
    execute(engine, "UPDATE bounds SET lower = 4")
    execute(engine, "UPDATE bounds SET lower = 4, lower_guarantee = 'grid'")
    execute(engine, "UPDATE bounds SET lower = 5, upper = 5")
    with engine.connect() as connection:
        trace = connection.execute(sa.text("SELECT lower, upper FROM bound_events ORDER BY id")).all()
    assert [tuple(row) for row in trace] == [(3, 7), (4, 7), (5, 5)]


def test_a_finished_task_frees_its_subtree_and_its_clip(engine: sa.Engine) -> None:
    execute(engine, LEGAL)
    execute(engine, "UPDATE tasks SET state = 'merged', finished_at = now() WHERE id IN (1, 3)")
    execute(engine, "INSERT INTO tasks (id, video_id, kind, subtree_id) VALUES (9, 1, 'explore', 1)")
    execute(engine, "INSERT INTO tasks (id, video_id, kind) VALUES (10, 2, 'attack')")


@pytest.mark.parametrize("seconds", [math.nan, math.inf, -1.0])
def test_the_append_function_refuses_what_the_table_refuses(engine: sa.Engine, seconds: float) -> None:
    execute(engine, LEGAL)
    execute(engine, "SELECT worker_claim(3, 'w', 60)")
    append = sa.text("SELECT worker_append(3, 1, 'w', '{}', :seconds, NULL, false)")
    with engine.begin() as connection, pytest.raises(IntegrityError, match="ck_results_seconds_finite"):
        connection.execute(append, {"seconds": seconds})


def test_the_worker_role_reaches_no_table(engine: sa.Engine, database_url: str, subtests: pytest.Subtests) -> None:
    execute(engine, LEGAL)
    worker = open_worker_engine(database_url)
    views = sa.inspect(engine).get_view_names()
    assert views
    tables = {*Base.metadata.tables, "alembic_version"}
    # A worker must see whether the schema is its own before it starts.
    statements = [f"SELECT * FROM {name}" for name in sorted({*tables, *views} - {"schema_objects", "alembic_version"})]
    for table in sorted(tables):
        statements += [f"DELETE FROM {table}", f"TRUNCATE {table}", f"INSERT INTO {table} DEFAULT VALUES"]
    for statement in [*statements, "UPDATE bounds SET upper = 1", "UPDATE tasks SET state = 'ready'"]:
        with subtests.test(statement=statement), pytest.raises(ProgrammingError, match="permission denied for"):
            execute(worker, statement)
    with pytest.raises(ProgrammingError, match="permission denied for schema public"):
        execute(worker, "CREATE TABLE mine (id int)")


def test_the_worker_role_has_its_four_functions_and_no_other(engine: sa.Engine) -> None:
    # Functions that only compute, or that only a trigger may call, hand nothing out.
    harmless = {"flow_distance", "median", "wall_seconds"}
    harmless |= {"append_only", "guard_bounds", "trace_bounds", "stop_clock", "task_of_job"}
    query = sa.text(
        "SELECT proname FROM pg_proc WHERE pronamespace = 'public'::regnamespace"
        " AND has_function_privilege('flowcert_worker', oid, 'execute')"
    )
    with engine.connect() as connection:
        allowed = set(connection.scalars(query))
    assert allowed - harmless == {"worker_claim", "worker_beat", "worker_append", "worker_refuse"}
