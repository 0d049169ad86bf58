-- One row a worker: when it last beat, what it works on, what it has done.
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
    t.id AS task,
    t.kind,
    v.path AS video,
    coalesce(a.attempts, 0) AS attempts,
    coalesce(a.returned, 0) AS returned,
    coalesce(a.busy_seconds, 0) AS busy_seconds
FROM workers w
    LEFT JOIN LATERAL (
        SELECT id, kind, video_id FROM tasks WHERE worker_id = w.id AND state = 'leased' ORDER BY id LIMIT 1
    ) t ON true
    LEFT JOIN videos v ON v.id = t.video_id
    LEFT JOIN (
        SELECT x.worker_id, count(*) AS attempts, count(*) FILTER (WHERE x.outcome = 'returned') AS returned,
            sum(r.seconds) AS busy_seconds
        FROM attempts x LEFT JOIN results r ON r.task_id = x.task_id AND r.attempt = x.attempt
        GROUP BY x.worker_id
    ) a ON a.worker_id = w.id;
