-- What went wrong, a row each: a clip that failed, and attempts of one task that ended alike, for the same reason.
-- Failed attempts have an index of their own (ix_attempts_failed), for nearly all succeed.
CREATE VIEW failures AS
SELECT
    v.job_id,
    v.id AS video_id,
    v.path AS video,
    'clip' AS what,
    NULL::bigint AS task,
    NULL AS kind,
    'failed' AS outcome,
    v.reason,
    1::bigint AS times,
    v.finished_at AS first_at,
    v.finished_at AS last_at,
    NULL::text[] AS workers,
    NULL::text[] AS hosts
FROM videos v
WHERE v.status = 'failed'
UNION ALL
SELECT
    t.job_id,
    t.video_id,
    v.path,
    'attempt',
    t.id,
    t.kind,
    f.outcome,
    f.reason,
    f.times,
    f.first_at,
    f.last_at,
    f.workers,
    f.hosts
FROM (
    SELECT
        a.task_id,
        a.outcome,
        a.reason,
        count(*) AS times,
        min(a.ended_at) AS first_at,
        max(a.ended_at) AS last_at,
        array_agg(DISTINCT a.worker_id) AS workers,
        array_agg(DISTINCT w.info ->> 'host') AS hosts
    FROM attempts a JOIN workers w ON w.id = a.worker_id
    WHERE a.outcome IN ('failed', 'expired', 'refused')
    GROUP BY a.task_id, a.outcome, a.reason
) f
    JOIN tasks t ON t.id = f.task_id
    JOIN videos v ON v.id = t.video_id;

COMMENT ON VIEW failures IS
    'What went wrong, a row each: a clip that failed, and the attempts at one task that ended alike for the '
    'same reason. An attempt may fail and another succeed: only what = clip says that nothing is claimed.';
COMMENT ON COLUMN failures.job_id IS 'number of the job';
COMMENT ON COLUMN failures.video_id IS 'number of the clip';
COMMENT ON COLUMN failures.video IS 'path of the clip''s video file';
COMMENT ON COLUMN failures.what IS 'clip (the clip failed) or attempt (attempts at a task of it did)';
COMMENT ON COLUMN failures.task IS 'number of the task; NULL: the row of a clip';
COMMENT ON COLUMN failures.kind IS 'kind of task; NULL: the row of a clip';
COMMENT ON COLUMN failures.outcome IS
    'failed (an error), expired (the worker fell silent) or refused (its host lacks a file)';
COMMENT ON COLUMN failures.reason IS 'what the worker or the scheduler said';
COMMENT ON COLUMN failures.times IS 'attempts that ended like this; 1 for a clip';
COMMENT ON COLUMN failures.first_at IS 'when it happened first';
COMMENT ON COLUMN failures.last_at IS 'when it happened last';
COMMENT ON COLUMN failures.workers IS 'names of the workers; NULL: the row of a clip';
COMMENT ON COLUMN failures.hosts IS 'names of their machines; NULL: the row of a clip';
