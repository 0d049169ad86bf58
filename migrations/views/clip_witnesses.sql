-- One row a witness: an adversarial grid point, whether its replay confirmed it, and what a replay needs to know.
-- best: the first replayed witness of the clip that costs what its upper bound is.
CREATE VIEW clip_witnesses AS
SELECT
    v.job_id,
    w.id AS witness_id,
    v.id AS video_id,
    v.path AS video,
    v.label,
    w.point,
    w.cost,
    flow_distance(j.spec ->> 'norm', (j.spec ->> 'tau')::double precision, w.cost) AS distance,
    w.replayed,
    w.margin,
    w.predicted,
    w.replayed AND w.cost = b.upper
        AND w.id = min(w.id) FILTER (WHERE w.replayed AND w.cost = b.upper) OVER (PARTITION BY v.id) AS best,
    v.clip_digest,
    v.region_sizes,
    j.spec ->> 'features' AS features,
    j.spec ->> 'norm' AS norm,
    (j.spec ->> 'tau')::double precision AS tau,
    (j.spec -> 'sampling' ->> 'frames')::bigint AS frames,
    (j.spec -> 'sampling' ->> 'height')::bigint AS height,
    (j.spec -> 'sampling' ->> 'width')::bigint AS width,
    j.spec
FROM witnesses w
    JOIN videos v ON v.id = w.video_id
    JOIN jobs j ON j.id = v.job_id
    LEFT JOIN bounds b ON b.video_id = v.id;
