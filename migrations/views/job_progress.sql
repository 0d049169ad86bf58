-- How far jobs are. What was merged is summed up by the merge (work_totals, work_minutes): no result is read here.
CREATE VIEW job_progress AS
WITH clips AS (
    SELECT
        v.job_id,
        count(*) AS clips,
        count(v.finished_at) AS clips_finished,
        count(v.prepared_at) AS clips_prepared,
        count(*) FILTER (WHERE v.prepared_at IS NULL AND v.finished_at IS NULL) AS clips_waiting,
        count(*) FILTER (WHERE v.status NOT IN ('pending', 'prepared')) AS clips_bounded,
        count(*) FILTER (WHERE v.verdict = 'solved') AS solved,
        count(*) FILTER (WHERE v.verdict = 'robust') AS robust,
        count(*) FILTER (WHERE v.verdict = 'misclassified') AS misclassified,
        count(*) FILTER (WHERE v.verdict = 'failed') AS failed,
        count(*) FILTER (WHERE v.verdict = 'open') AS open,
        sum(v.points_explored) AS points_explored,
        -- Of a clip that is not prepared no points are known: the lesser of NULL and its budget would be its budget.
        sum(CASE WHEN v.finished_at IS NOT NULL OR v.points_needed IS NULL THEN v.points_explored
                 ELSE greatest(v.points_explored, least(v.points_needed, j.budget_points)) END) AS points_needed,
        sum(v.points_total) AS points_total,
        sum(v.seconds) AS worker_seconds,
        -- The greater of NULL and 0 would be 0.
        sum(CASE WHEN j.budget_clip_seconds IS NOT NULL AND v.finished_at IS NULL
                THEN greatest(j.budget_clip_seconds - v.seconds, 0) END) AS clip_seconds_left
    FROM videos v JOIN jobs j ON j.id = v.job_id
    GROUP BY v.job_id
), before AS (
    SELECT k.job_id, sum(k.seconds) AS seconds_per_clip
    FROM (
        SELECT w.job_id, w.kind, sum(w.seconds) / sum(w.tasks) AS seconds
        FROM work_totals w WHERE w.kind <> 'explore'
        GROUP BY w.job_id, w.kind
    ) k
    GROUP BY k.job_id
), crew AS (
    SELECT greatest(count(*), 1) AS workers FROM workers WHERE seen_at > now() - interval '60 seconds'
), recent AS (
    -- This minute and the one before; a job that began in them has had less time to explore in.
    SELECT
        w.job_id,
        sum(w.points)::double precision / (0.001 + extract(epoch FROM now() - greatest(
            min(w.began_at), date_trunc('minute', now()) - interval '1 minute')))::double precision AS points_per_second
    FROM work_minutes w
    WHERE w.minute >= date_trunc('minute', now()) - interval '1 minute' AND w.points > 0
    GROUP BY w.job_id
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
    coalesce(c.points_total, 0) AS points_total,
    coalesce(c.worker_seconds, 0) AS worker_seconds,
    j.budget_points,
    j.budget_clip_seconds,
    j.budget_wall_seconds,
    wall_seconds(j.ran_seconds, j.clock_since) AS wall_seconds,
    r.points_per_second,
    CASE WHEN j.status = 'running'
        THEN least(
            coalesce((c.clips - c.clips_bounded) * b.seconds_per_clip / w.workers, 0)
                + CASE WHEN e.points_left = 0 THEN 0
                    ELSE (e.points_left / nullif(r.points_per_second, 0))::double precision END,
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
    LEFT JOIN recent r ON r.job_id = j.id
    CROSS JOIN LATERAL (
        -- A clip that waits to be prepared is taken for as large as those that are, on average; NULL: none is.
        SELECT c.points_needed - c.points_explored + CASE c.clips_waiting WHEN 0 THEN 0
            ELSE c.clips_waiting * c.points_needed / nullif(c.clips_prepared, 0) END AS points_left
    ) e;

COMMENT ON VIEW job_progress IS 'One row a job: how far it is.';
COMMENT ON COLUMN job_progress.job_id IS 'number of the job';
COMMENT ON COLUMN job_progress.status IS 'running, paused, done or cancelled';
COMMENT ON COLUMN job_progress.priority IS 'a job of higher priority comes first';
COMMENT ON COLUMN job_progress.generation IS '1, and one more for each rerun of all clips';
COMMENT ON COLUMN job_progress.dataset IS 'path of its dataset';
COMMENT ON COLUMN job_progress.model IS 'name of its model';
COMMENT ON COLUMN job_progress.features IS 'how flows are divided into regions';
COMMENT ON COLUMN job_progress.norm IS 'how changes are measured: L1, L2 or Linf';
COMMENT ON COLUMN job_progress.tau IS 'size of one step, in pixels';
COMMENT ON COLUMN job_progress.radius IS 'greatest distance that is searched, in pixels of the job''s norm';
COMMENT ON COLUMN job_progress.clips IS 'its clips';
COMMENT ON COLUMN job_progress.clips_prepared IS 'clips that were prepared';
COMMENT ON COLUMN job_progress.clips_bounded IS 'clips whose tasks before exploration are over';
COMMENT ON COLUMN job_progress.clips_finished IS 'clips that are finished, whatever their verdict';
COMMENT ON COLUMN job_progress.solved IS 'clips whose lower bound equals the upper one';
COMMENT ON COLUMN job_progress.robust IS 'clips without an adversarial grid point within the radius';
COMMENT ON COLUMN job_progress.misclassified IS 'clips that are not predicted as their label';
COMMENT ON COLUMN job_progress.failed IS 'clips of which nothing is claimed';
COMMENT ON COLUMN job_progress.open IS 'clips whose bounds differ, or of which nothing is known yet';
COMMENT ON COLUMN job_progress.points_explored IS 'grid points explored';
COMMENT ON COLUMN job_progress.points_needed IS
    'grid points that would decide every clip prepared so far, within its budget; an exact count';
COMMENT ON COLUMN job_progress.points_total IS
    'grid points within the radius of every clip prepared so far; an exact count';
COMMENT ON COLUMN job_progress.worker_seconds IS 'worker time spent, in seconds';
COMMENT ON COLUMN job_progress.budget_points IS 'grid points that a clip may cost';
COMMENT ON COLUMN job_progress.budget_clip_seconds IS 'worker time that a clip may cost, in seconds; NULL: no limit';
COMMENT ON COLUMN job_progress.budget_wall_seconds IS 'time that the job may run, in seconds; NULL: no limit';
COMMENT ON COLUMN job_progress.wall_seconds IS 'time that it has run, in seconds';
COMMENT ON COLUMN job_progress.points_per_second IS
    'grid points explored a second, in this minute and the one before; NULL: none';
COMMENT ON COLUMN job_progress.eta_seconds IS
    'seconds until it is done: what is left at that rate and at what the tasks before exploration have cost so '
    'far, clips that are not prepared yet taken for average ones, and no longer than its budgets of time; NULL: '
    'unknown, or not running';
COMMENT ON COLUMN job_progress.created_at IS 'when it was submitted';
COMMENT ON COLUMN job_progress.finished_at IS 'when it was done or cancelled; NULL: it is not';
