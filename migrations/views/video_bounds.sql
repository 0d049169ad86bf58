-- What is known of each clip. A job's specification is taken apart once, not once a clip: that was most of the time.
CREATE VIEW video_bounds AS
WITH specs AS MATERIALIZED (
    SELECT
        j.id AS job,
        j.spec ->> 'norm' AS norm,
        (j.spec ->> 'tau')::double precision AS tau,
        (j.spec ->> 'radius')::double precision AS radius,
        j.spec ->> 'features' AS features,
        j.spec -> 'flow' ->> 'method' AS flow_method,
        j.spec -> 'model' ->> 'name' AS model,
        j.spec -> 'model' ->> 'sha256' AS model_sha256,
        CASE WHEN j.spec ->> 'lipschitz' = 'estimated' THEN 'lipschitz:estimated'
             WHEN j.spec ->> 'lipschitz' IS NOT NULL THEN 'lipschitz:assumed' END AS constant_guarantee,
        -- Every coordinate of every flow: two axes of every pixel of every frame but the first.
        2 * ((j.spec -> 'sampling' ->> 'frames')::double precision - 1)
            * (j.spec -> 'sampling' ->> 'height')::double precision
            * (j.spec -> 'sampling' ->> 'width')::double precision AS entries
    FROM jobs j
), clips AS (
    SELECT
        v.*,
        s.*,
        s.tau / 2 * CASE s.norm WHEN 'L1' THEN s.entries WHEN 'L2' THEN sqrt(s.entries) ELSE 1 END AS half_diagonal
    FROM videos v JOIN specs s ON s.job = v.job_id
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
    d.features,
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
    d.flow_method,
    d.model,
    d.model_sha256
FROM held d;

COMMENT ON VIEW video_bounds IS
    'One row a clip: what is known of it. Infinity says that no adversarial grid point exists within the '
    'radius.';
COMMENT ON COLUMN video_bounds.job_id IS 'number of the job';
COMMENT ON COLUMN video_bounds.video_id IS 'number of the clip';
COMMENT ON COLUMN video_bounds.video IS 'path of the clip''s video file';
COMMENT ON COLUMN video_bounds.label IS 'class that the clip should have';
COMMENT ON COLUMN video_bounds.predicted IS 'class that the model gives the unchanged clip; NULL: not predicted yet';
COMMENT ON COLUMN video_bounds.status IS 'pending, prepared, exploring, done, failed or cancelled';
COMMENT ON COLUMN video_bounds.verdict IS 'open, solved, robust, misclassified or failed';
COMMENT ON COLUMN video_bounds.reason IS 'why it failed or was left open; NULL: neither';
COMMENT ON COLUMN video_bounds.norm IS 'how changes are measured: L1, L2 or Linf';
COMMENT ON COLUMN video_bounds.tau IS 'size of one step, in pixels';
COMMENT ON COLUMN video_bounds.features IS 'how flows are divided into regions';
COMMENT ON COLUMN video_bounds.radius IS 'greatest distance that is searched, in pixels of the job''s norm';
COMMENT ON COLUMN video_bounds.fmsr_lower IS
    'no adversarial grid point is nearer, in pixels of the job''s norm; NULL: unknown';
COMMENT ON COLUMN video_bounds.fmsr_lower_guarantee IS
    'what it is worth: grid, lipschitz:estimated or lipschitz:assumed';
COMMENT ON COLUMN video_bounds.fmsr_upper IS
    'distance of the best replayed grid witness, in pixels of the job''s norm; NULL: none known; Infinity: '
    'there is none';
COMMENT ON COLUMN video_bounds.msr_lower IS
    'no adversarial real change is nearer, in pixels of the job''s norm: the certified radius, or else '
    'constant_lower; NULL: unknown';
COMMENT ON COLUMN video_bounds.msr_lower_guarantee IS
    'what it is worth: continuous (proved) or lipschitz:... (rests on a constant)';
COMMENT ON COLUMN video_bounds.msr_upper IS
    'least distance of a replayed witness, a real change or a grid point, in pixels of the job''s norm; NULL: '
    'none known';
COMMENT ON COLUMN video_bounds.certified_radius IS
    'greatest radius certified for all real changes, in pixels of the job''s norm; NULL: none';
COMMENT ON COLUMN video_bounds.lipschitz IS
    'the margin''s Lipschitz constant, in logits per pixel of the norm; NULL: none';
COMMENT ON COLUMN video_bounds.constant_guarantee IS
    'what bounds by the constant are worth: lipschitz:estimated or lipschitz:assumed; NULL: not asked for';
COMMENT ON COLUMN video_bounds.within_constant IS
    'margin over constant, at most the radius, in pixels of the job''s norm';
COMMENT ON COLUMN video_bounds.constant_lower IS
    'what the constant gives as a lower bound on MSR, unless a witness refutes it, in pixels of the job''s norm';
COMMENT ON COLUMN video_bounds.constant_refuted IS 'whether a witness lies nearer than the constant allows';
COMMENT ON COLUMN video_bounds.half_diagonal IS
    'how far a real change can be from the nearest grid point, in pixels of the job''s norm';
COMMENT ON COLUMN video_bounds.premise IS
    'whether every grid point is a misclassification aggregator, which the error bound rests on: holds, fails '
    'or not established';
COMMENT ON COLUMN video_bounds.premise_point IS
    'a grid point that is none, as pairs of coordinate and steps; [] is the unchanged clip';
COMMENT ON COLUMN video_bounds.error_bound IS
    'FMSR less half a diagonal, at least 0: a lower bound on MSR where the premise holds, in pixels of the '
    'job''s norm';
COMMENT ON COLUMN video_bounds.points_explored IS 'grid points explored';
COMMENT ON COLUMN video_bounds.points_needed IS 'grid points that decide the clip; an exact count';
COMMENT ON COLUMN video_bounds.points_total IS 'grid points within the radius; an exact count';
COMMENT ON COLUMN video_bounds.seconds IS 'worker time spent, in seconds';
COMMENT ON COLUMN video_bounds.margin IS 'margin of the unchanged clip, in logits';
COMMENT ON COLUMN video_bounds.lower_cost IS
    'lower bound on FMSR in whole units of tau (L1, Linf) or of tau squared (L2)';
COMMENT ON COLUMN video_bounds.upper_cost IS 'upper bound on FMSR in the same units; NULL: none known';
COMMENT ON COLUMN video_bounds.clip_digest IS 'SHA-256 of the clip''s frames';
COMMENT ON COLUMN video_bounds.video_sha256 IS 'SHA-256 of the video file';
COMMENT ON COLUMN video_bounds.flow_method IS 'how flow is estimated';
COMMENT ON COLUMN video_bounds.model IS 'name of the model';
COMMENT ON COLUMN video_bounds.model_sha256 IS 'SHA-256 of its weights';
