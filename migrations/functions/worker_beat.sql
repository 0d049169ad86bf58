-- A worker shows itself and extends the lease of the task it works on; the scheduler is told of a new worker.
-- Returns {"wanted": false} when that task is no longer its own, and the clip's incumbent upper bound (a cost).
CREATE OR REPLACE FUNCTION worker_beat(
    p_worker text, p_info jsonb, p_task bigint, p_attempt bigint, p_lease_seconds double precision
) RETURNS jsonb LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    l_wanted boolean := true;
    l_upper bigint;
BEGIN
    -- common.wire.MOST_INFO_BYTES
    IF pg_column_size(p_info) > 16384 OR octet_length(p_worker) > 1000 THEN
        RAISE EXCEPTION 'what a worker says of itself has % bytes, 16384 are allowed', pg_column_size(p_info)
            USING ERRCODE = 'check_violation';
    END IF;
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
    END IF;
    RETURN jsonb_build_object('wanted', l_wanted, 'upper', l_upper);
END $$;
