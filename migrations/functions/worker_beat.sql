-- A worker shows itself and extends the lease of the task it works on.
-- Returns {"wanted": false} when that task is no longer its own, and the clip's incumbent upper bound (a cost).
CREATE OR REPLACE FUNCTION worker_beat(
    p_worker text, p_info jsonb, p_task bigint, p_attempt bigint, p_lease_seconds double precision
) RETURNS jsonb LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    l_wanted boolean := true;
    l_upper bigint;
BEGIN
    INSERT INTO workers (id, info) VALUES (p_worker, p_info)
        ON CONFLICT (id) DO UPDATE SET info = EXCLUDED.info, seen_at = now();
    IF p_task IS NOT NULL THEN
        UPDATE tasks SET lease_until = now() + make_interval(secs => p_lease_seconds)
            WHERE id = p_task AND attempt = p_attempt AND worker_id = p_worker AND state = 'leased';
        l_wanted := FOUND;
        SELECT upper INTO l_upper FROM bounds WHERE video_id = (SELECT video_id FROM tasks WHERE id = p_task);
    END IF;
    RETURN jsonb_build_object('wanted', l_wanted, 'upper', l_upper);
END $$;
