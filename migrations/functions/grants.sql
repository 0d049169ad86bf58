-- The narrow role of workers: four functions, no table.
DO $$
BEGIN
    -- Roles belong to the whole server; two databases being set up at once may race for the name.
    CREATE ROLE flowcert_worker NOLOGIN;
EXCEPTION WHEN duplicate_object OR unique_violation THEN
    NULL;
END $$;
REVOKE ALL ON ALL TABLES IN SCHEMA public FROM PUBLIC;
REVOKE EXECUTE ON FUNCTION worker_beat, worker_claim, worker_append, worker_refuse FROM PUBLIC;
GRANT EXECUTE ON FUNCTION worker_beat, worker_claim, worker_append, worker_refuse TO flowcert_worker;
GRANT SELECT ON alembic_version, schema_objects TO flowcert_worker;
