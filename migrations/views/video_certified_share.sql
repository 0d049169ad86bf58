-- One row a job, measure, guarantee and displacement: how many of its evaluated clips are certified to be safe so far.
-- A displacement is pixels per flow entry: root mean square (L2), mean absolute (L1), greatest (Linf); distance is the
-- same in pixels of the job's norm. Of the evaluated clips, certified have a lower bound of at least the distance; below
-- are misclassified or have an upper bound that is less; of the others it is unknown. No bound reaches beyond the
-- radius, so that nothing is certified there, and a robust clip is unknown. Guarantees that the job asked for only.
CREATE VIEW video_certified_share AS
WITH asked AS (
    SELECT
        j.id AS job_id,
        g.place,
        g.measure,
        g.guarantee,
        j.spec ->> 'norm' AS norm,
        (j.spec ->> 'radius')::double precision AS radius,
        2 * ((j.spec -> 'sampling' ->> 'frames')::double precision - 1)
            * (j.spec -> 'sampling' ->> 'height')::double precision
            * (j.spec -> 'sampling' ->> 'width')::double precision AS entries
    FROM jobs j
        CROSS JOIN LATERAL (
            SELECT CASE WHEN j.spec ->> 'lipschitz' = 'estimated' THEN 'lipschitz:estimated'
                        WHEN j.spec ->> 'lipschitz' IS NOT NULL THEN 'lipschitz:assumed' END AS label
        ) c
        CROSS JOIN LATERAL (VALUES
            (1, 'FMSR', CASE WHEN (j.spec ->> 'heuristic')::boolean THEN c.label ELSE 'grid' END),
            (2, 'MSR', CASE WHEN (j.spec ->> 'continuous')::boolean THEN 'continuous' END),
            (3, 'MSR', c.label)
        ) AS g (place, measure, guarantee)
    WHERE g.guarantee IS NOT NULL
), wanted AS (
    SELECT
        a.*,
        t.displacement,
        t.displacement * CASE a.norm WHEN 'L1' THEN a.entries WHEN 'L2' THEN sqrt(a.entries) ELSE 1 END AS distance
    FROM asked a CROSS JOIN (VALUES (0.25::double precision), (0.5), (1), (2)) AS t (displacement)
), known AS (
    SELECT
        w.*,
        b.video_id,
        b.predicted = b.label AS correct,
        CASE w.place WHEN 1 THEN b.fmsr_lower WHEN 2 THEN b.certified_radius ELSE b.constant_lower END AS lower,
        CASE w.place WHEN 1 THEN b.fmsr_upper ELSE b.msr_upper END AS upper
    FROM wanted w
        LEFT JOIN video_bounds b ON b.job_id = w.job_id AND b.verdict <> 'failed' AND b.predicted IS NOT NULL
), judged AS (
    SELECT
        k.*,
        coalesce(k.correct AND k.distance <= k.radius AND k.lower >= k.distance, false) AS certified,
        coalesce(NOT k.correct OR k.upper < k.distance, false) AS below
    FROM known k
)
SELECT
    j.job_id,
    j.measure,
    j.guarantee,
    j.displacement,
    j.norm,
    j.entries,
    j.distance,
    j.radius,
    j.distance > j.radius AS beyond_radius,
    count(j.video_id) AS evaluated,
    count(*) FILTER (WHERE j.certified) AS certified,
    count(*) FILTER (WHERE j.below) AS below,
    count(j.video_id) - count(*) FILTER (WHERE j.certified OR j.below) AS unknown,
    count(*) FILTER (WHERE j.certified)::double precision / nullif(count(j.video_id), 0) AS share
FROM judged j
GROUP BY j.job_id, j.place, j.measure, j.guarantee, j.displacement, j.norm, j.entries, j.distance, j.radius;
