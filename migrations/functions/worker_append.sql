-- leased -> returned: appends the first result of a task; or ends the attempt with an error:
-- leased -> failed when the error is final (bad input), leased -> ready when another attempt may succeed.
-- A result that comes after its lease expired is as true as any other and is taken when it is the first.
-- The scheduler is told that there is something to do, unless another result waits for it already: notifying
-- transactions commit one after the other, which costs 32 workers that append at once most of their rate.
-- Returns 'accepted', 'late' (another result came first, or the task is no longer wanted) or 'failed'.
CREATE OR REPLACE FUNCTION worker_append(
    p_task bigint, p_attempt bigint, p_worker text,
    p_payload jsonb, p_seconds double precision, p_error text, p_final boolean
) RETURNS text LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    l_task tasks%ROWTYPE;
    l_outcome text;
BEGIN
    -- common.wire.MOST_RESULT_BYTES: evidence of a size that the scheduler can read.
    IF pg_column_size(p_payload) > 67108864 THEN
        RAISE EXCEPTION 'the result of task % has % bytes, 67108864 are allowed', p_task, pg_column_size(p_payload)
            USING ERRCODE = 'check_violation';
    END IF;
    -- Thirty years of work are nobody's, and sums of more would have no room; the table refuses what is no time at all.
    IF p_seconds > 1e9 AND p_seconds < 'Infinity' THEN
        RAISE EXCEPTION 'the result of task % took % seconds', p_task, p_seconds USING ERRCODE = 'check_violation';
    END IF;
    p_error := left(p_error, 4000);
    SELECT * INTO l_task FROM tasks WHERE id = p_task FOR UPDATE;
    IF NOT EXISTS (SELECT FROM attempts WHERE task_id = p_task AND attempt = p_attempt AND worker_id = p_worker) THEN
        RAISE EXCEPTION 'task % has no attempt % by worker %', p_task, p_attempt, p_worker;
    END IF;
    IF p_error IS NOT NULL THEN
        l_outcome := 'failed';
        UPDATE tasks
            SET state = CASE WHEN p_final THEN 'failed' ELSE 'ready' END, reason = p_error, lease_until = NULL,
                announced_at = NULL, finished_at = CASE WHEN p_final THEN now() END
            WHERE id = p_task AND state = 'leased' AND attempt = p_attempt;
    ELSIF l_task.state IN ('ready', 'leased') THEN
        l_outcome := 'returned';
        INSERT INTO results (task_id, attempt, worker_id, payload, seconds)
            VALUES (p_task, p_attempt, p_worker, p_payload, p_seconds);
        UPDATE tasks SET state = 'returned', lease_until = NULL WHERE id = p_task;
    ELSE
        l_outcome := 'late';
    END IF;
    UPDATE attempts SET ended_at = now(), outcome = l_outcome, reason = p_error
        WHERE task_id = p_task AND attempt = p_attempt AND (ended_at IS NULL OR outcome = 'expired');
    IF l_outcome = 'failed' OR (l_outcome = 'returned' AND NOT EXISTS (
        SELECT FROM tasks WHERE state = 'returned' AND finished_at IS NULL AND id <> p_task)) THEN
        PERFORM pg_notify('work', NULL);
    END IF;
    RETURN CASE l_outcome WHEN 'returned' THEN 'accepted' ELSE l_outcome END;
END $$;
