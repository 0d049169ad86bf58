-- Evidence for bounds on FMSR from below.
CREATE VIEW clip_explorations AS
SELECT
    v.job_id,
    t.id AS task,
    v.id AS video_id,
    v.path AS video,
    v.label,
    s.prefix,
    s.first,
    s.last,
    s.floor,
    least((r.payload ->> 'reached')::bigint, (r.payload ->> 'undecided')::bigint) AS reached,
    r.payload -> 'position' AS position,
    (r.payload ->> 'explored')::bigint AS explored,
    flow_distance(
        j.spec ->> 'norm', (j.spec ->> 'tau')::double precision,
        least((r.payload ->> 'reached')::bigint, (r.payload ->> 'undecided')::bigint)) AS distance,
    v.predicted,
    v.clip_digest,
    v.radius_cost,
    j.spec
FROM tasks t
    JOIN results r ON r.task_id = t.id
    JOIN subtrees s ON s.id = t.subtree_id
    JOIN videos v ON v.id = t.video_id
    JOIN jobs j ON j.id = v.job_id
WHERE t.kind = 'explore' AND t.state = 'merged';

COMMENT ON VIEW clip_explorations IS
    'One row an explore task whose result was merged: which points it says are not adversarial, those of its '
    'subtree up to position with floor <= cost < reached. Ask it for a clip: a job has as many as tasks.';
COMMENT ON COLUMN clip_explorations.job_id IS 'number of the job';
COMMENT ON COLUMN clip_explorations.task IS 'number of the task';
COMMENT ON COLUMN clip_explorations.video_id IS 'number of the clip';
COMMENT ON COLUMN clip_explorations.video IS 'path of the clip''s video file';
COMMENT ON COLUMN clip_explorations.label IS 'class that the clip should have';
COMMENT ON COLUMN clip_explorations.prefix IS
    'point at which the subtree hangs, as pairs of coordinate and steps of tau';
COMMENT ON COLUMN clip_explorations.first IS 'first item of the subtree below the point';
COMMENT ON COLUMN clip_explorations.last IS 'item after its last one';
COMMENT ON COLUMN clip_explorations.floor IS
    'least cost that the task was asked for, in whole units of tau (L1, Linf) or of tau squared (L2)';
COMMENT ON COLUMN clip_explorations.reached IS 'cost below which no point explored is adversarial, in the same units';
COMMENT ON COLUMN clip_explorations.position IS 'last point explored, where the task was cut short; NULL: all were';
COMMENT ON COLUMN clip_explorations.explored IS 'grid points evaluated';
COMMENT ON COLUMN clip_explorations.distance IS 'reached as a distance, in pixels of the job''s norm';
COMMENT ON COLUMN clip_explorations.predicted IS
    'class that the model gives the unchanged clip; NULL: not predicted yet';
COMMENT ON COLUMN clip_explorations.clip_digest IS 'SHA-256 of the clip''s frames';
COMMENT ON COLUMN clip_explorations.radius_cost IS 'greatest cost within the radius, in the same units';
COMMENT ON COLUMN clip_explorations.spec IS 'the job''s specification';
