-- The narrow roles. Workers: four functions, and two tables to read, by which they know whether they fit this database.
-- Dashboards: views, and the functions that views call.
-- Views are made anew by each upgrade, and their grants with them.
DO $$
BEGIN
    -- Roles belong to the whole server; two databases being set up at once may race for the name.
    CREATE ROLE flowcert_worker NOLOGIN;
EXCEPTION WHEN duplicate_object OR unique_violation THEN
    NULL;
END $$;
REVOKE ALL ON ALL TABLES IN SCHEMA public FROM PUBLIC;
REVOKE EXECUTE ON ALL FUNCTIONS IN SCHEMA public FROM PUBLIC;
GRANT EXECUTE ON FUNCTION worker_beat, worker_claim, worker_append, worker_refuse TO flowcert_worker;
GRANT SELECT ON alembic_version, schema_objects TO flowcert_worker;
GRANT EXECUTE ON FUNCTION flow_distance, median, wall_seconds TO flowcert_dashboard;
GRANT SELECT ON
    attempt_devices, bound_trace, certified_share, class_robustness, clip_certificates, clip_explorations,
    clip_witnesses, failures, job_progress, queue, throughput, video_bounds, video_guarantees, worker_activity
    TO flowcert_dashboard;
