-- One row a worker: when it last beat, what it works on, what it has done. Its work is summed up by the merge
-- (work_totals), so that nothing here is counted task by task.
CREATE VIEW worker_activity AS
SELECT
    w.id AS worker,
    w.info ->> 'host' AS host,
    (w.info ->> 'pid')::bigint AS pid,
    w.info ->> 'device' AS device,
    w.info #>> '{versions,gpu}' AS gpu,
    w.info #>> '{versions,driver}' AS driver,
    w.started_at,
    w.seen_at,
    extract(epoch FROM now() - w.seen_at)::double precision AS seconds_since_beat,
    t.job_id,
    t.id AS task,
    t.kind,
    v.path AS video,
    w.attempts,
    coalesce(d.returned, 0) AS returned,
    coalesce(d.points, 0) AS points,
    coalesce(d.busy_seconds, 0) AS busy_seconds,
    r.points_per_second
FROM workers w
    LEFT JOIN LATERAL (
        SELECT id, job_id, kind, video_id FROM tasks WHERE worker_id = w.id AND state = 'leased' ORDER BY id LIMIT 1
    ) t ON true
    LEFT JOIN videos v ON v.id = t.video_id
    LEFT JOIN (
        SELECT x.worker_id, sum(x.tasks)::bigint AS returned, sum(x.points)::bigint AS points,
            sum(x.seconds) AS busy_seconds
        FROM work_totals x GROUP BY x.worker_id
    ) d ON d.worker_id = w.id
    LEFT JOIN videos l ON l.id = w.video_id
    LEFT JOIN LATERAL (
        SELECT x.points / nullif(x.seconds, 0) AS points_per_second
        FROM work_totals x WHERE x.job_id = l.job_id AND x.worker_id = w.id AND x.kind = 'explore'
    ) r ON true;

COMMENT ON VIEW worker_activity IS 'One row a worker: when it last beat, what it works on, what it has done.';
COMMENT ON COLUMN worker_activity.worker IS 'name of the worker: one process on one device';
COMMENT ON COLUMN worker_activity.host IS 'name of its machine';
COMMENT ON COLUMN worker_activity.pid IS 'number of its process';
COMMENT ON COLUMN worker_activity.device IS 'what it computes on: cpu or cuda';
COMMENT ON COLUMN worker_activity.gpu IS 'name of its GPU; NULL on a CPU';
COMMENT ON COLUMN worker_activity.driver IS 'version of the GPU''s driver; NULL on a CPU';
COMMENT ON COLUMN worker_activity.started_at IS 'when it first beat';
COMMENT ON COLUMN worker_activity.seen_at IS 'when it last beat';
COMMENT ON COLUMN worker_activity.seconds_since_beat IS 'seconds since it last beat';
COMMENT ON COLUMN worker_activity.job_id IS 'number of the job that it works on; NULL: idle';
COMMENT ON COLUMN worker_activity.task IS 'number of the task that it works on; NULL: idle';
COMMENT ON COLUMN worker_activity.kind IS 'kind of that task; NULL: idle';
COMMENT ON COLUMN worker_activity.video IS 'path of that task''s clip; NULL: idle';
COMMENT ON COLUMN worker_activity.attempts IS 'tasks that it has claimed';
COMMENT ON COLUMN worker_activity.returned IS 'tasks whose results it returned and that were merged';
COMMENT ON COLUMN worker_activity.points IS 'grid points explored by these';
COMMENT ON COLUMN worker_activity.busy_seconds IS 'worker time spent on these, in seconds';
COMMENT ON COLUMN worker_activity.points_per_second IS
    'grid points explored per second of worker time, in the job that it explored last; NULL: it has explored '
    'none';
