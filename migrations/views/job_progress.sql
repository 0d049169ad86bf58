-- One row a job: how far it is. points_needed is what would decide every clip prepared so far, within its budget;
-- clips_bounded are those whose tasks before exploration are over. eta_seconds extrapolates the exploration rate of the
-- last minute, and what those tasks have cost so far; it is NULL while points are left and none was explored in it. It
-- is no longer than the budgets of time leave: wall_seconds are those that the job has run, of budget_wall_seconds.
CREATE VIEW job_progress AS
WITH clips AS (
    SELECT
        v.job_id,
        count(*) AS clips,
        count(v.finished_at) AS clips_finished,
        count(*) FILTER (WHERE v.prepared_at IS NOT NULL) AS clips_prepared,
        count(*) FILTER (WHERE v.status NOT IN ('pending', 'prepared')) AS clips_bounded,
        count(*) FILTER (WHERE v.verdict = 'solved') AS solved,
        count(*) FILTER (WHERE v.verdict = 'robust') AS robust,
        count(*) FILTER (WHERE v.verdict = 'misclassified') AS misclassified,
        count(*) FILTER (WHERE v.verdict = 'failed') AS failed,
        count(*) FILTER (WHERE v.verdict = 'open') AS open,
        sum(v.points_explored) AS points_explored,
        sum(CASE WHEN v.finished_at IS NOT NULL THEN v.points_explored
                 ELSE greatest(v.points_explored, least(v.points_needed, j.budget_points)) END) AS points_needed,
        sum(v.seconds) AS worker_seconds,
        -- The greater of NULL and 0 would be 0.
        sum(CASE WHEN j.budget_clip_seconds IS NOT NULL AND v.finished_at IS NULL
                THEN greatest(j.budget_clip_seconds - v.seconds, 0) END) AS clip_seconds_left
    FROM videos v JOIN jobs j ON j.id = v.job_id
    GROUP BY v.job_id
), before AS (
    SELECT k.job_id, sum(k.seconds) AS seconds_per_clip
    FROM (
        SELECT v.job_id, t.kind, avg(r.seconds) AS seconds
        FROM results r JOIN tasks t ON t.id = r.task_id JOIN videos v ON v.id = t.video_id
        WHERE t.kind <> 'explore'
        GROUP BY v.job_id, t.kind
    ) k
    GROUP BY k.job_id
), crew AS (
    SELECT greatest(count(*), 1) AS workers FROM workers WHERE seen_at > now() - interval '60 seconds'
), recent AS (
    SELECT
        v.job_id,
        -- A job younger than a minute has had less than one to explore in.
        sum((r.payload ->> 'explored')::bigint)::double precision
            / least(60, extract(epoch FROM now() - min(t.created_at)) + 0.001) AS points_per_second
    FROM results r JOIN tasks t ON t.id = r.task_id JOIN videos v ON v.id = t.video_id
    WHERE r.appended_at > now() - interval '60 seconds' AND t.kind = 'explore'
    GROUP BY v.job_id
)
SELECT
    j.id AS job_id,
    j.status,
    j.priority,
    j.generation,
    j.spec ->> 'dataset' AS dataset,
    j.spec -> 'model' ->> 'name' AS model,
    j.spec ->> 'features' AS features,
    j.spec ->> 'norm' AS norm,
    (j.spec ->> 'tau')::double precision AS tau,
    (j.spec ->> 'radius')::double precision AS radius,
    coalesce(c.clips, 0) AS clips,
    coalesce(c.clips_prepared, 0) AS clips_prepared,
    coalesce(c.clips_bounded, 0) AS clips_bounded,
    coalesce(c.clips_finished, 0) AS clips_finished,
    coalesce(c.solved, 0) AS solved,
    coalesce(c.robust, 0) AS robust,
    coalesce(c.misclassified, 0) AS misclassified,
    coalesce(c.failed, 0) AS failed,
    coalesce(c.open, 0) AS open,
    coalesce(c.points_explored, 0) AS points_explored,
    coalesce(c.points_needed, 0) AS points_needed,
    coalesce(c.worker_seconds, 0) AS worker_seconds,
    j.budget_points,
    j.budget_clip_seconds,
    j.budget_wall_seconds,
    wall_seconds(j.ran_seconds, j.clock_since) AS wall_seconds,
    r.points_per_second,
    CASE WHEN j.status = 'running'
        THEN least(
            coalesce((c.clips - c.clips_bounded) * b.seconds_per_clip / w.workers, 0)
                + CASE WHEN c.points_needed > c.points_explored
                    THEN ((c.points_needed - c.points_explored) / nullif(r.points_per_second, 0))::double precision
                    ELSE 0 END,
            c.clip_seconds_left / w.workers,
            CASE WHEN j.budget_wall_seconds IS NOT NULL
                THEN greatest(j.budget_wall_seconds - wall_seconds(j.ran_seconds, j.clock_since), 0) END)
    END AS eta_seconds,
    j.created_at,
    j.finished_at
FROM jobs j
    LEFT JOIN clips c ON c.job_id = j.id
    LEFT JOIN before b ON b.job_id = j.id
    CROSS JOIN crew w
    LEFT JOIN recent r ON r.job_id = j.id;
