-- leased -> ready: ends an attempt that this worker's host cannot make, while another worker's may: a file there is
-- missing or not the job's. The worker is given no task of that job again; the scheduler is told.
CREATE OR REPLACE FUNCTION worker_refuse(p_task bigint, p_attempt bigint, p_worker text, p_reason text)
RETURNS void LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
    p_reason := left(p_reason, 4000);
    PERFORM FROM tasks WHERE id = p_task FOR UPDATE;
    IF NOT EXISTS (SELECT FROM attempts WHERE task_id = p_task AND attempt = p_attempt AND worker_id = p_worker) THEN
        RAISE EXCEPTION 'task % has no attempt % by worker %', p_task, p_attempt, p_worker;
    END IF;
    UPDATE attempts SET ended_at = now(), outcome = 'refused', reason = p_reason
        WHERE task_id = p_task AND attempt = p_attempt AND (ended_at IS NULL OR outcome = 'expired');
    UPDATE tasks SET state = 'ready', reason = p_reason, lease_until = NULL, announced_at = NULL
        WHERE id = p_task AND state = 'leased' AND attempt = p_attempt;
    PERFORM pg_notify('work', NULL);
END $$;
