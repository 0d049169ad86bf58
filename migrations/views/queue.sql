-- What a cluster scales its workers by (docs/deployment.md): tasks above workers means that more would have work.
CREATE VIEW queue AS
SELECT
    count(*) FILTER (WHERE t.state = 'ready') AS tasks_ready,
    count(*) FILTER (WHERE t.state = 'leased') AS tasks_leased,
    (SELECT count(*) FROM workers w WHERE w.seen_at > now() - interval '60 seconds') AS workers_live
FROM tasks t
    JOIN videos v ON v.id = t.video_id
    JOIN jobs j ON j.id = v.job_id
WHERE t.finished_at IS NULL AND t.state IN ('ready', 'leased') AND j.status = 'running';

COMMENT ON VIEW queue IS
    'One row for all running jobs: what a cluster scales its workers by. A window of tasks is made for each '
    'live worker, and one window while there is none.';
COMMENT ON COLUMN queue.tasks_ready IS 'tasks that wait for a worker';
COMMENT ON COLUMN queue.tasks_leased IS 'tasks that are worked on';
COMMENT ON COLUMN queue.workers_live IS 'workers that beat within the last minute';
