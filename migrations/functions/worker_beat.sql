-- A worker shows itself and extends the lease of the task it works on; the scheduler is told of a new worker.
-- Returns {"wanted": false} when that task is no longer its own, and the clip's incumbent upper bound (a cost);
-- "current", false for a worker of another version than the one the database was last set up for; and to an idle worker
-- "waiting", a task whose message nobody answered for ten seconds: the broker lost it, or this worker does not hear it.
CREATE OR REPLACE FUNCTION worker_beat(
    p_worker text, p_info jsonb, p_task bigint, p_attempt bigint, p_lease_seconds double precision
) RETURNS jsonb LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    l_wanted boolean := true;
    l_upper bigint;
    l_waiting bigint;
BEGIN
    UPDATE workers SET info = p_info, seen_at = now() WHERE id = p_worker;
    IF NOT FOUND THEN
        INSERT INTO workers (id, info) VALUES (p_worker, p_info);
        PERFORM pg_notify('work', NULL);
    END IF;
    IF p_task IS NOT NULL THEN
        UPDATE tasks SET lease_until = now() + make_interval(secs => p_lease_seconds)
            WHERE id = p_task AND attempt = p_attempt AND worker_id = p_worker AND state = 'leased';
        l_wanted := FOUND;
        SELECT upper INTO l_upper FROM bounds WHERE video_id = (SELECT video_id FROM tasks WHERE id = p_task);
    ELSE
        SELECT id INTO l_waiting FROM tasks
            WHERE state = 'ready' AND announced_at < now() - interval '10 s' ORDER BY id LIMIT 1;
    END IF;
    RETURN jsonb_build_object(
        'wanted', l_wanted, 'upper', l_upper, 'waiting', l_waiting,
        'current', (p_info ->> 'program') IS NOT DISTINCT FROM (SELECT program FROM schema_objects));
END $$;
