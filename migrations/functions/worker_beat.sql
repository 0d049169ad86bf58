-- A worker shows itself and extends the lease of the task it works on; the scheduler is told of a new worker. What it
-- says of itself is stored once: its attempts are read as computed on that.
-- Returns {"wanted": false} when that task is no longer its own, {"recalled": true} when it is to be handed in with what
-- it has (its job is paused, or has run for as long as it may, or its clip costs more worker time than it may), and the
-- clip's incumbent upper bound (a cost);
-- "current", false for a worker of another version than the one the database was last set up for; and to an idle worker
-- "waiting", a task whose message nobody answered for ten seconds: the broker lost it, or this worker does not hear it.
CREATE OR REPLACE FUNCTION worker_beat(
    p_worker text, p_info jsonb, p_task bigint, p_attempt bigint, p_lease_seconds double precision
) RETURNS jsonb LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    l_wanted boolean := true;
    l_recalled boolean := false;
    l_upper bigint;
    l_waiting bigint;
BEGIN
    -- common.wire.MOST_INFO_BYTES
    IF pg_column_size(p_info) > 16384 OR octet_length(p_worker) > 1000 THEN
        RAISE EXCEPTION 'what a worker says of itself has % bytes, 16384 are allowed', pg_column_size(p_info)
            USING ERRCODE = 'check_violation';
    END IF;
    -- Views show what it says of itself: each part has its type, and nothing is nested deeper than versions have it.
    IF p_info <> '{}' AND (
        jsonb_typeof(p_info) <> 'object' OR p_info @? '$.**{4 to last}'
        OR coalesce(jsonb_typeof(p_info -> 'host'), '') <> 'string' OR (p_info ->> 'pid') !~ '^[0-9]{1,18}$'
        OR coalesce(jsonb_typeof(p_info -> 'device'), '') <> 'string'
        OR coalesce(jsonb_typeof(p_info -> 'versions'), '') <> 'object'
        OR coalesce(p_info #>> '{versions,matmul_tf32}', 'true') NOT IN ('true', 'false')
        OR coalesce(p_info #>> '{versions,cudnn_tf32}', 'true') NOT IN ('true', 'false')
    ) THEN
        RAISE EXCEPTION 'what a worker says of itself is not what common.wire.WorkerInfo has'
            USING ERRCODE = 'check_violation';
    END IF;
    UPDATE workers SET seen_at = now() WHERE id = p_worker;
    IF NOT FOUND THEN
        INSERT INTO workers (id, info) VALUES (p_worker, p_info);
        PERFORM pg_notify('work', NULL);
    END IF;
    IF p_task IS NOT NULL THEN
        UPDATE tasks SET lease_until = now() + make_interval(secs => p_lease_seconds)
            WHERE id = p_task AND attempt = p_attempt AND worker_id = p_worker AND state = 'leased';
        l_wanted := FOUND;
        SELECT
            j.status <> 'running'
            OR coalesce(wall_seconds(j.ran_seconds, j.clock_since) >= j.budget_wall_seconds, false)
            OR CASE WHEN j.budget_clip_seconds IS NOT NULL THEN
                -- What is not merged yet counts too: that of every worker that is on the clip just now.
                v.seconds + (
                    SELECT coalesce(sum(extract(epoch FROM now() - a.started_at)), 0)::double precision
                    FROM tasks x JOIN attempts a ON a.task_id = x.id AND a.attempt = x.attempt
                    WHERE x.state = 'leased' AND x.finished_at IS NULL AND x.video_id = v.id
                ) >= j.budget_clip_seconds
            ELSE false END,
            b.upper
        INTO l_recalled, l_upper
        FROM tasks t
            JOIN videos v ON v.id = t.video_id
            JOIN jobs j ON j.id = v.job_id
            LEFT JOIN bounds b ON b.video_id = v.id
        WHERE t.id = p_task;
    ELSE
        SELECT t.id INTO l_waiting FROM tasks t JOIN jobs j ON j.id = t.job_id
            WHERE t.state = 'ready' AND t.announced_at < now() - interval '10 s' AND j.status = 'running'
            ORDER BY t.id LIMIT 1;
    END IF;
    RETURN jsonb_build_object(
        'wanted', l_wanted, 'recalled', coalesce(l_recalled, false), 'upper', l_upper, 'waiting', l_waiting,
        'current', (p_info ->> 'program') IS NOT DISTINCT FROM (SELECT program FROM schema_objects));
END $$;
