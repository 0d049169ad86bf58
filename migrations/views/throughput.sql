-- What was done when: summed up by the merge (work_minutes), in the transaction that merges.
CREATE VIEW throughput AS
SELECT
    w.job_id,
    w.minute,
    w.tasks,
    w.points,
    w.seconds,
    w.points / s.elapsed AS points_per_second,
    w.seconds / s.elapsed AS busy_workers
FROM work_minutes w
    -- The minute that has not ended yet has had less time.
    CROSS JOIN LATERAL (
        SELECT greatest(least(60, extract(epoch FROM now() - w.minute)), 0.001)::double precision AS elapsed
    ) s;

COMMENT ON VIEW throughput IS
    'One row a job and minute in which results of it were merged; hours and days are sums of these rows.';
COMMENT ON COLUMN throughput.job_id IS 'number of the job';
COMMENT ON COLUMN throughput.minute IS 'beginning of the minute in which the results were merged';
COMMENT ON COLUMN throughput.tasks IS 'tasks merged';
COMMENT ON COLUMN throughput.points IS 'grid points explored by them';
COMMENT ON COLUMN throughput.seconds IS 'worker time spent on them, in seconds';
COMMENT ON COLUMN throughput.points_per_second IS
    'grid points merged a second, over the minute or what of it has passed';
COMMENT ON COLUMN throughput.busy_workers IS
    'worker seconds merged a second: how many workers were at work on it, on average';
