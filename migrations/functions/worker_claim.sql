-- ready -> leased: gives a task to one worker, with everything the worker needs (common.wire.Claim).
-- A message is a doorbell: of all announced tasks those of running jobs of the highest priority come first; of these the
-- worker is given one of the clip it explored last, whose variants it still has; else one of a clip that nobody explores
-- just now, so that each worker keeps to a clip of its own; of these the task of the message, or, when another worker
-- took that one in exchange, the oldest. A worker's own clip is looked at first, for it mostly has a task, and a few
-- rows tell; only else is everything that is announced held against everything that is explored. Their number is the
-- window's, whatever the job's size.
-- Without bitmap scans, which pass over dead index entries again and again, where an index scan marks them; and planned
-- once, for planning takes longer than claiming.
-- A worker that refused a task is given none of that job: its host has not the job's files.
-- Returns NULL when none is ready, or its clip is finished or its job is not running: the message was stale. Also to a
-- worker that has not shown itself, or is of another version than the one the database was last set up for.
CREATE OR REPLACE FUNCTION worker_claim(p_task bigint, p_worker text, p_lease_seconds double precision)
RETURNS jsonb LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp
SET enable_bitmapscan = off SET plan_cache_mode = force_generic_plan AS $$
DECLARE
    l_own bigint;
    l_current boolean;
    l_busy bigint[];
    l_forgotten boolean;
    l_priority bigint;
    l_task bigint;
    l_kind text;
    l_video bigint;
    l_attempt bigint;
    l_refused bigint[];
BEGIN
    SELECT w.video_id, w.info ->> 'program' = s.program INTO l_own, l_current
        FROM workers w CROSS JOIN schema_objects s WHERE w.id = p_worker;
    IF l_current IS NOT TRUE THEN
        RETURN NULL;
    END IF;
    l_refused := ARRAY(
        SELECT DISTINCT x.job_id FROM attempts a JOIN tasks x ON x.id = a.task_id
        WHERE a.worker_id = p_worker AND a.outcome = 'refused');
    -- One that has just failed is the scheduler's to announce again, or to give up.
    SELECT t.state = 'ready' AND t.announced_at IS NULL AND t.reason IS NULL AND t.job_id <> ALL (l_refused), j.priority
        INTO l_forgotten, l_priority
        FROM tasks t JOIN jobs j ON j.id = t.job_id WHERE t.id = p_task;
    IF NOT FOUND THEN
        RETURN NULL;
    END IF;
    IF l_forgotten THEN
        -- Since its message was sent, it was handed back, or lost its place to a task of higher priority.
        l_forgotten := NOT EXISTS (
            SELECT FROM tasks t JOIN jobs j ON j.id = t.job_id
            WHERE t.state = 'ready' AND t.announced_at IS NOT NULL AND j.status = 'running'
                AND t.job_id <> ALL (l_refused) AND j.priority > l_priority);
    END IF;
    IF l_forgotten THEN
        l_task := p_task;
    ELSE
        SELECT t.id INTO l_task FROM tasks t
            WHERE t.video_id = l_own AND t.state = 'ready' AND t.announced_at IS NOT NULL AND t.kind = 'explore'
                AND EXISTS (
                    SELECT FROM videos v JOIN jobs j ON j.id = v.job_id
                    WHERE v.id = l_own AND j.status = 'running' AND j.id <> ALL (l_refused)
                        AND NOT EXISTS (
                            SELECT FROM jobs h JOIN tasks o ON o.job_id = h.id
                            WHERE h.status = 'running' AND h.priority > j.priority AND h.id <> ALL (l_refused)
                                AND o.state = 'ready' AND o.announced_at IS NOT NULL))
            -- Plus nothing, so that no plan goes through the primary key from its beginning, for the sake of the order.
            ORDER BY t.id + 0 LIMIT 1 FOR UPDATE SKIP LOCKED;
    END IF;
    IF l_task IS NULL THEN
        l_busy := ARRAY(
            SELECT DISTINCT video_id FROM tasks WHERE state = 'leased' AND finished_at IS NULL AND kind = 'explore');
        SELECT t.id INTO l_task FROM tasks t JOIN jobs j ON j.id = t.job_id
            WHERE t.state = 'ready' AND t.announced_at IS NOT NULL AND j.status = 'running'
                AND t.job_id <> ALL (l_refused)
            ORDER BY
                j.priority DESC,
                -- One that has explored nothing yet takes the task of its message, of whatever kind.
                (t.kind <> 'explore' OR t.video_id <> ALL (l_busy)) DESC,
                t.id = p_task DESC,
                t.id
            LIMIT 1 FOR UPDATE OF t SKIP LOCKED;
    END IF;
    UPDATE tasks t
        SET state = 'leased', attempt = t.attempt + 1, worker_id = p_worker,
            lease_until = now() + make_interval(secs => p_lease_seconds)
        FROM videos v JOIN jobs j ON j.id = v.job_id
        WHERE t.id = l_task AND t.state = 'ready' AND v.id = t.video_id
            AND v.finished_at IS NULL AND j.status = 'running'
        RETURNING t.attempt, t.kind, t.video_id INTO l_attempt, l_kind, l_video;
    IF NOT FOUND THEN
        RETURN NULL;
    END IF;
    UPDATE workers
        SET attempts = attempts + 1, video_id = CASE WHEN l_kind = 'explore' THEN l_video ELSE video_id END
        WHERE id = p_worker;
    INSERT INTO attempts (task_id, attempt, worker_id) VALUES (l_task, l_attempt, p_worker);
    RETURN (
        SELECT jsonb_build_object(
            'task', t.id, 'attempt', t.attempt, 'kind', t.kind, 'spec', j.spec, 'video', v.path, 'label', v.label,
            'clip_digest', v.clip_digest, 'radius_cost', v.radius_cost, 'upper', b.upper,
            'msr_upper', least(
                flow_distance(j.spec ->> 'norm', (j.spec ->> 'tau')::double precision, b.upper),
                (SELECT min(w.distance) FROM real_witnesses w WHERE w.video_id = v.id AND w.replayed)),
            'lipschitz', v.lipschitz, 'points', t.points,
            'prefix', s.prefix, 'first', s.first, 'last', s.last, 'floor', s.floor, 'threshold', s.threshold)
        FROM tasks t
            JOIN videos v ON v.id = t.video_id
            JOIN jobs j ON j.id = v.job_id
            LEFT JOIN subtrees s ON s.id = t.subtree_id
            LEFT JOIN bounds b ON b.video_id = v.id
        WHERE t.id = l_task);
END $$;
