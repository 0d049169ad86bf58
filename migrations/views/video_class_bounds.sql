-- One row a job and class, and one with label NULL for all of them: how many clips, and the medians of their bounds in
-- pixels of the job's norm, over the clips that are predicted rightly. Evaluated clips are those whose class was
-- predicted and that did not fail. Each guarantee has its own median; a bound that was asked for and not found counts
-- as 0, an unknown upper bound as Infinity. ratio_median is upper over lower bound on FMSR, where both are known and
-- the lower one is not 0: of ratio_clips clips.
CREATE VIEW video_class_bounds AS
WITH known AS (
    SELECT
        b.job_id,
        b.label,
        b.verdict,
        b.seconds,
        b.verdict <> 'failed' AND b.predicted IS NOT NULL AS evaluated,
        b.verdict <> 'failed' AND b.predicted IS NOT NULL AND b.predicted = b.label AS correct,
        b.fmsr_lower,
        coalesce(b.fmsr_upper, 'Infinity') AS fmsr_upper,
        CASE WHEN (j.spec ->> 'continuous')::boolean THEN coalesce(b.certified_radius, 0) END AS certified_radius,
        CASE WHEN b.constant_guarantee IS NOT NULL THEN coalesce(b.constant_lower, 0) END AS constant_lower,
        coalesce(b.msr_upper, 'Infinity') AS msr_upper,
        CASE WHEN b.fmsr_lower > 0 AND b.fmsr_upper < 'Infinity' THEN b.fmsr_upper / b.fmsr_lower END AS ratio
    FROM video_bounds b JOIN jobs j ON j.id = b.job_id
)
SELECT
    k.job_id,
    k.label,
    count(*) AS clips,
    count(*) FILTER (WHERE k.evaluated) AS evaluated,
    count(*) FILTER (WHERE k.correct) AS correct,
    count(*) FILTER (WHERE k.verdict = 'solved') AS solved,
    count(*) FILTER (WHERE k.verdict = 'robust') AS robust,
    -- A clip without a prediction is open as well, but nothing is known of it.
    count(*) FILTER (WHERE k.verdict = 'open' AND k.evaluated) AS open,
    count(*) FILTER (WHERE k.verdict = 'misclassified') AS misclassified,
    count(*) FILTER (WHERE k.verdict = 'failed') AS failed,
    count(*) FILTER (WHERE k.verdict <> 'failed' AND NOT k.evaluated) AS not_evaluated,
    median(array_agg(k.fmsr_lower) FILTER (WHERE k.correct)) AS fmsr_lower_median,
    median(array_agg(k.fmsr_upper) FILTER (WHERE k.correct)) AS fmsr_upper_median,
    median(array_agg(k.certified_radius) FILTER (WHERE k.correct)) AS certified_radius_median,
    median(array_agg(k.constant_lower) FILTER (WHERE k.correct)) AS constant_lower_median,
    median(array_agg(k.msr_upper) FILTER (WHERE k.correct)) AS msr_upper_median,
    median(array_agg(k.ratio) FILTER (WHERE k.correct)) AS ratio_median,
    count(k.ratio) FILTER (WHERE k.correct) AS ratio_clips,
    avg(k.seconds) FILTER (WHERE k.evaluated) AS seconds_mean,
    median(array_agg(k.seconds) FILTER (WHERE k.evaluated)) AS seconds_median
FROM known k
GROUP BY GROUPING SETS ((k.job_id), (k.job_id, k.label));
