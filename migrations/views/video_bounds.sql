-- One row a clip: what is known of it. Distances are pixels of the job's norm; NULL is unknown; Infinity: none exists.
-- verdict: open | solved | robust | misclassified | failed. msr_upper is the least distance of a replayed witness, a
-- real change or a grid point. msr_lower is the radius certified for all real changes; where there is none, what the
-- Lipschitz constant gives, which is no proof: msr_lower_guarantee says which. video_guarantees lists every route.
-- premise: that every grid point is a misclassification aggregator, which the error bound FMSR - half_diagonal <= MSR
-- rests on: holds | fails | not established. A constant that a witness refutes bounds nothing: constant_lower is what
-- it gives otherwise, beside a certified radius too.
CREATE VIEW video_bounds AS
WITH clips AS (
    SELECT
        v.*,
        j.spec,
        j.spec ->> 'norm' AS norm,
        (j.spec ->> 'tau')::double precision AS tau,
        (j.spec ->> 'radius')::double precision AS radius,
        CASE WHEN j.spec ->> 'lipschitz' = 'estimated' THEN 'lipschitz:estimated'
             WHEN j.spec ->> 'lipschitz' IS NOT NULL THEN 'lipschitz:assumed' END AS constant_guarantee,
        -- Every coordinate of every flow: two axes of every pixel of every frame but the first.
        2 * ((j.spec -> 'sampling' ->> 'frames')::double precision - 1)
            * (j.spec -> 'sampling' ->> 'height')::double precision
            * (j.spec -> 'sampling' ->> 'width')::double precision AS entries
    FROM videos v JOIN jobs j ON j.id = v.job_id
), known AS (
    SELECT
        v.*,
        b.lower AS lower_cost,
        b.upper AS upper_cost,
        b.lower_guarantee AS fmsr_lower_guarantee,
        CASE v.verdict WHEN 'robust' THEN v.radius ELSE flow_distance(v.norm, v.tau, b.lower) END AS fmsr_lower,
        CASE v.verdict WHEN 'robust' THEN 'Infinity' ELSE flow_distance(v.norm, v.tau, b.upper) END AS fmsr_upper,
        least(flow_distance(v.norm, v.tau, b.upper), w.distance) AS msr_upper,
        c.radius AS certified_radius,
        -- Rounded down: the margin is a double, and so is what it is divided by.
        CASE WHEN v.lipschitz IS NOT NULL THEN least(v.radius, v.margin / v.lipschitz * (1 - 1e-9)) END
            AS within_constant,
        v.tau / 2 * CASE v.norm WHEN 'L1' THEN v.entries WHEN 'L2' THEN sqrt(v.entries) ELSE 1 END AS half_diagonal,
        w.safe_point
    FROM clips v
        LEFT JOIN bounds b ON b.video_id = v.id AND v.verdict <> 'failed'
        LEFT JOIN LATERAL (
            SELECT min(x.distance) AS distance, (array_agg(x.safe_point) FILTER (WHERE x.safe_point IS NOT NULL))[1]
                AS safe_point
            FROM real_witnesses x WHERE x.video_id = v.id AND x.replayed AND v.verdict <> 'failed'
        ) w ON true
        LEFT JOIN LATERAL (
            SELECT max(x.radius) AS radius FROM certificates x
            WHERE x.video_id = v.id AND x.radius > 0 AND v.verdict <> 'failed'
        ) c ON true
), judged AS (
    SELECT
        k.*,
        CASE
            WHEN k.lower_cost IS NULL THEN NULL
            -- The unchanged clip is a grid point too, and right.
            WHEN k.safe_point IS NOT NULL OR k.msr_upper <= k.half_diagonal THEN 'fails'
            WHEN k.fmsr_lower_guarantee = 'grid' AND k.closest_margin / k.lipschitz >= k.half_diagonal THEN 'holds'
            ELSE 'not established'
        END AS premise,
        greatest(k.fmsr_lower - k.half_diagonal, 0) AS error_bound
    FROM known k
), derived AS (
    SELECT
        d.*,
        CASE WHEN d.lower_cost IS NOT NULL THEN greatest(
            d.within_constant, CASE d.premise WHEN 'holds' THEN d.error_bound END) END AS by_constant
    FROM judged d
), held AS (
    SELECT d.*, CASE WHEN d.by_constant <= coalesce(d.msr_upper, d.by_constant) THEN d.by_constant END AS constant_lower
    FROM derived d
)
SELECT
    d.job_id,
    d.id AS video_id,
    d.path AS video,
    d.label,
    d.predicted,
    d.status,
    d.verdict,
    d.reason,
    d.norm,
    d.tau,
    d.spec ->> 'features' AS features,
    d.radius,
    d.fmsr_lower,
    d.fmsr_lower_guarantee,
    d.fmsr_upper,
    coalesce(d.certified_radius, d.constant_lower) AS msr_lower,
    CASE
        WHEN d.certified_radius IS NOT NULL THEN 'continuous'
        WHEN d.constant_lower IS NOT NULL THEN d.constant_guarantee
    END AS msr_lower_guarantee,
    d.msr_upper,
    d.certified_radius,
    d.lipschitz,
    d.constant_guarantee,
    CASE WHEN d.lower_cost IS NOT NULL THEN d.within_constant END AS within_constant,
    d.constant_lower,
    d.by_constant > d.msr_upper AS constant_refuted,
    d.half_diagonal,
    d.premise,
    CASE d.premise WHEN 'fails' THEN coalesce(d.safe_point, '[]') END AS premise_point,
    CASE WHEN d.lower_cost IS NOT NULL THEN d.error_bound END AS error_bound,
    d.points_explored,
    d.points_needed,
    d.points_total,
    d.seconds,
    d.margin,
    d.lower_cost,
    d.upper_cost,
    d.clip_digest,
    d.content_sha256 AS video_sha256,
    d.spec -> 'flow' ->> 'method' AS flow_method,
    d.spec -> 'model' ->> 'name' AS model,
    d.spec -> 'model' ->> 'sha256' AS model_sha256
FROM held d;
