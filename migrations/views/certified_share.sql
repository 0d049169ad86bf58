-- How many of a job's clips are certified. Each clip is looked at once; its bounds are then counted from arrays.
-- OFFSET 0 has a subquery's columns computed once: else they are written out wherever they are used, and each bound is
-- compared with a distance that is worked out from the specification anew.
CREATE VIEW certified_share AS
WITH known AS (
    SELECT
        b.job_id,
        count(*) AS evaluated,
        array_agg(CASE WHEN b.predicted = b.label THEN b.fmsr_lower END) AS fmsr_lower,
        array_agg(CASE WHEN b.predicted = b.label THEN b.certified_radius END) AS certified_radius,
        array_agg(CASE WHEN b.predicted = b.label THEN b.constant_lower END) AS constant_lower,
        array_agg(CASE WHEN b.predicted = b.label THEN b.fmsr_upper ELSE '-Infinity' END) AS fmsr_upper,
        array_agg(CASE WHEN b.predicted = b.label THEN b.msr_upper ELSE '-Infinity' END) AS msr_upper
    FROM video_bounds b
    WHERE b.verdict <> 'failed' AND b.predicted IS NOT NULL
    GROUP BY b.job_id
)
SELECT
    j.id AS job_id,
    g.measure,
    g.guarantee,
    t.displacement,
    s.norm,
    s.entries,
    d.distance,
    s.radius,
    d.distance > s.radius AS beyond_radius,
    coalesce(k.evaluated, 0) AS evaluated,
    n.certified,
    n.below,
    coalesce(k.evaluated, 0) - n.certified - n.below AS unknown,
    n.certified::double precision / nullif(k.evaluated, 0) AS share
FROM jobs j
    LEFT JOIN known k ON k.job_id = j.id
    CROSS JOIN LATERAL (
        SELECT
            j.spec ->> 'norm' AS norm,
            (j.spec ->> 'radius')::double precision AS radius,
            2 * ((j.spec -> 'sampling' ->> 'frames')::double precision - 1)
                * (j.spec -> 'sampling' ->> 'height')::double precision
                * (j.spec -> 'sampling' ->> 'width')::double precision AS entries,
            CASE WHEN j.spec ->> 'lipschitz' = 'estimated' THEN 'lipschitz:estimated'
                 WHEN j.spec ->> 'lipschitz' IS NOT NULL THEN 'lipschitz:assumed' END AS constant
        OFFSET 0
    ) s
    CROSS JOIN LATERAL (VALUES
        ('FMSR', CASE WHEN (j.spec ->> 'heuristic')::boolean THEN s.constant ELSE 'grid' END,
            k.fmsr_lower, k.fmsr_upper),
        ('MSR', CASE WHEN (j.spec ->> 'continuous')::boolean THEN 'continuous' END, k.certified_radius, k.msr_upper),
        ('MSR', s.constant, k.constant_lower, k.msr_upper)
    ) AS g (measure, guarantee, lower, upper)
    -- Asked of each guarantee, so that the clips cannot come to be looked at for each displacement.
    CROSS JOIN LATERAL unnest(CASE WHEN g.guarantee IS NOT NULL THEN '{0.25, 0.5, 1, 2}'::double precision[] END)
        AS t (displacement)
    CROSS JOIN LATERAL (
        SELECT t.displacement * CASE s.norm WHEN 'L1' THEN s.entries WHEN 'L2' THEN sqrt(s.entries) ELSE 1 END
            AS distance
        OFFSET 0
    ) d
    CROSS JOIN LATERAL (
        SELECT
            (SELECT count(*) FROM unnest(g.lower) AS x (bound) WHERE x.bound >= d.distance AND d.distance <= s.radius)
                AS certified,
            (SELECT count(*) FROM unnest(g.upper) AS x (bound) WHERE x.bound < d.distance) AS below
        OFFSET 0
    ) n;

COMMENT ON VIEW certified_share IS
    'One row a job, measure, guarantee and displacement: how many of its evaluated clips are certified so far. '
    'Only guarantees that the job asked for; never add them up.';
COMMENT ON COLUMN certified_share.job_id IS 'number of the job';
COMMENT ON COLUMN certified_share.measure IS 'FMSR (the grid) or MSR (all real changes)';
COMMENT ON COLUMN certified_share.guarantee IS
    'what the lower bounds are worth: grid, continuous, lipschitz:estimated or lipschitz:assumed';
COMMENT ON COLUMN certified_share.displacement IS
    'change in pixels per flow entry: root mean square (L2), mean absolute (L1) or greatest (Linf)';
COMMENT ON COLUMN certified_share.norm IS 'how changes are measured: L1, L2 or Linf';
COMMENT ON COLUMN certified_share.entries IS
    'flow entries of a clip: two axes of every pixel of every frame but the first';
COMMENT ON COLUMN certified_share.distance IS 'the displacement as a distance of the whole clip, in pixels of the norm';
COMMENT ON COLUMN certified_share.radius IS 'greatest distance that the job searches, in pixels of the norm';
COMMENT ON COLUMN certified_share.beyond_radius IS
    'whether the distance is beyond the radius, where nothing can be certified';
COMMENT ON COLUMN certified_share.evaluated IS 'clips whose class was predicted and that did not fail';
COMMENT ON COLUMN certified_share.certified IS
    'evaluated clips, predicted rightly, with a lower bound of at least the distance';
COMMENT ON COLUMN certified_share.below IS
    'evaluated clips that are misclassified or have an upper bound of less than the distance';
COMMENT ON COLUMN certified_share.unknown IS 'evaluated clips that are neither';
COMMENT ON COLUMN certified_share.share IS 'certified of evaluated, 0 to 1; NULL: none is evaluated';
