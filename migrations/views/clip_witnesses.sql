-- Evidence for bounds from above: grid witnesses and real ones.
CREATE VIEW clip_witnesses AS
SELECT
    v.job_id,
    w.kind,
    w.id AS witness_id,
    w.task_id AS task,
    v.id AS video_id,
    v.path AS video,
    v.label,
    w.point,
    w.cost,
    w.moves,
    coalesce(w.distance, flow_distance(j.spec ->> 'norm', (j.spec ->> 'tau')::double precision, w.cost)) AS distance,
    w.replayed,
    w.margin,
    w.predicted,
    w.reason,
    w.replayed AND row_number() OVER (
        PARTITION BY v.id, w.kind ORDER BY w.replayed DESC, w.cost, w.distance, w.id) = 1 AS best,
    v.clip_digest,
    v.region_sizes,
    j.spec ->> 'features' AS features,
    j.spec ->> 'norm' AS norm,
    (j.spec ->> 'tau')::double precision AS tau,
    (j.spec -> 'sampling' ->> 'frames')::bigint AS frames,
    (j.spec -> 'sampling' ->> 'height')::bigint AS height,
    (j.spec -> 'sampling' ->> 'width')::bigint AS width,
    j.spec
FROM (
    SELECT
        'grid' AS kind, id, task_id, video_id, point, cost, NULL::jsonb AS moves, NULL::double precision AS distance,
        replayed, margin, predicted, reason
    FROM witnesses
    UNION ALL
    SELECT 'real', id, task_id, video_id, NULL, NULL, moves, distance, replayed, margin, predicted, reason
    FROM real_witnesses
) w
    JOIN videos v ON v.id = w.video_id
    JOIN jobs j ON j.id = v.job_id;

COMMENT ON VIEW clip_witnesses IS
    'One row a witness, whether its replay confirmed it, and what a replay needs to know.';
COMMENT ON COLUMN clip_witnesses.job_id IS 'number of the job';
COMMENT ON COLUMN clip_witnesses.kind IS 'grid (an adversarial grid point) or real (an adversarial real change)';
COMMENT ON COLUMN clip_witnesses.witness_id IS 'number of the witness among those of its kind';
COMMENT ON COLUMN clip_witnesses.task IS 'number of the task that found it';
COMMENT ON COLUMN clip_witnesses.video_id IS 'number of the clip';
COMMENT ON COLUMN clip_witnesses.video IS 'path of the clip''s video file';
COMMENT ON COLUMN clip_witnesses.label IS 'class that the clip should have';
COMMENT ON COLUMN clip_witnesses.point IS
    'the grid point, as pairs of coordinate and steps of tau; NULL: a real change';
COMMENT ON COLUMN clip_witnesses.cost IS
    'its cost in whole units of tau (L1, Linf) or of tau squared (L2); NULL: a real change';
COMMENT ON COLUMN clip_witnesses.moves IS 'the real change, as pairs of coordinate and pixels; NULL: a grid point';
COMMENT ON COLUMN clip_witnesses.distance IS 'how far it is from the unchanged clip, in pixels of the job''s norm';
COMMENT ON COLUMN clip_witnesses.replayed IS
    'whether its replay from the raw video confirmed it; only then it bounds anything';
COMMENT ON COLUMN clip_witnesses.margin IS 'margin of the replay, in logits: below 0 is adversarial';
COMMENT ON COLUMN clip_witnesses.predicted IS 'class that the changed clip is given';
COMMENT ON COLUMN clip_witnesses.reason IS 'why the replay did not confirm it; NULL: it did';
COMMENT ON COLUMN clip_witnesses.best IS
    'whether it is the first replayed witness of its clip and kind at the least distance';
COMMENT ON COLUMN clip_witnesses.clip_digest IS 'SHA-256 of the clip''s frames';
COMMENT ON COLUMN clip_witnesses.region_sizes IS 'pixels of each region, flow by flow, run-length encoded';
COMMENT ON COLUMN clip_witnesses.features IS 'how flows are divided into regions';
COMMENT ON COLUMN clip_witnesses.norm IS 'how changes are measured: L1, L2 or Linf';
COMMENT ON COLUMN clip_witnesses.tau IS 'size of one step, in pixels';
COMMENT ON COLUMN clip_witnesses.frames IS 'frames of the clip';
COMMENT ON COLUMN clip_witnesses.height IS 'height of a frame, in pixels';
COMMENT ON COLUMN clip_witnesses.width IS 'width of a frame, in pixels';
COMMENT ON COLUMN clip_witnesses.spec IS 'the job''s specification';
