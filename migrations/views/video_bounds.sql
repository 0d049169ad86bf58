-- One row a clip: what is known of it. Distances are pixels of the job's norm; NULL is unknown; Infinity: none exists.
-- verdict: open | solved | robust | misclassified | failed. msr_upper is the least distance of a replayed witness, a
-- real change or a grid point; msr_lower stays unknown until a continuous or Lipschitz bound is computed, for a grid
-- bound says nothing of it.
CREATE VIEW video_bounds AS
SELECT
    v.job_id,
    v.id AS video_id,
    v.path AS video,
    v.label,
    v.predicted,
    v.status,
    v.verdict,
    v.reason,
    j.spec ->> 'norm' AS norm,
    (j.spec ->> 'tau')::double precision AS tau,
    j.spec ->> 'features' AS features,
    (j.spec ->> 'radius')::double precision AS radius,
    CASE v.verdict
        WHEN 'robust' THEN (j.spec ->> 'radius')::double precision
        WHEN 'failed' THEN NULL
        ELSE flow_distance(j.spec ->> 'norm', (j.spec ->> 'tau')::double precision, b.lower)
    END AS fmsr_lower,
    CASE v.verdict WHEN 'failed' THEN NULL ELSE b.lower_guarantee END AS fmsr_lower_guarantee,
    CASE v.verdict
        WHEN 'robust' THEN 'Infinity'::double precision
        WHEN 'failed' THEN NULL
        ELSE flow_distance(j.spec ->> 'norm', (j.spec ->> 'tau')::double precision, b.upper)
    END AS fmsr_upper,
    NULL::double precision AS msr_lower,
    NULL::text AS msr_lower_guarantee,
    CASE v.verdict
        WHEN 'failed' THEN NULL
        ELSE least(flow_distance(j.spec ->> 'norm', (j.spec ->> 'tau')::double precision, b.upper), r.distance)
    END AS msr_upper,
    v.points_explored,
    v.points_needed,
    v.points_total,
    v.seconds,
    v.margin,
    b.lower AS lower_cost,
    b.upper AS upper_cost,
    v.clip_digest,
    j.spec -> 'flow' ->> 'method' AS flow_method,
    j.spec -> 'model' ->> 'name' AS model,
    j.spec -> 'model' ->> 'sha256' AS model_sha256
FROM videos v
    JOIN jobs j ON j.id = v.job_id
    LEFT JOIN bounds b ON b.video_id = v.id
    LEFT JOIN LATERAL (
        SELECT min(w.distance) AS distance FROM real_witnesses w WHERE w.video_id = v.id AND w.replayed
    ) r ON true;
