-- One row a witness, whether its replay confirmed it, and what a replay needs to know.
-- kind: grid (an adversarial grid point, with its cost) or real (an adversarial real change, with its moves in pixels).
-- best: the first replayed witness of the clip that costs what its upper bound is; of the real ones the shortest.
CREATE VIEW clip_witnesses AS
SELECT
    v.job_id,
    w.kind,
    w.id AS witness_id,
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
        'grid' AS kind, id, video_id, point, cost, NULL::jsonb AS moves, NULL::double precision AS distance,
        replayed, margin, predicted, reason
    FROM witnesses
    UNION ALL
    SELECT 'real', id, video_id, NULL, NULL, moves, distance, replayed, margin, predicted, reason FROM real_witnesses
) w
    JOIN videos v ON v.id = w.video_id
    JOIN jobs j ON j.id = v.job_id;
