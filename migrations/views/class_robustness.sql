-- Counts and medians by class. Each guarantee has its own median; they are never mixed.
CREATE VIEW class_robustness AS
WITH asked AS MATERIALIZED (
    SELECT id, (spec ->> 'continuous')::boolean AS continuous FROM jobs
), known AS (
    SELECT
        b.job_id,
        b.label,
        b.verdict,
        b.seconds,
        b.verdict <> 'failed' AND b.predicted IS NOT NULL AS evaluated,
        b.verdict <> 'failed' AND b.predicted IS NOT NULL AND b.predicted = b.label AS correct,
        b.fmsr_lower,
        coalesce(b.fmsr_upper, 'Infinity') AS fmsr_upper,
        CASE WHEN j.continuous THEN coalesce(b.certified_radius, 0) END AS certified_radius,
        CASE WHEN b.constant_guarantee IS NOT NULL THEN coalesce(b.constant_lower, 0) END AS constant_lower,
        coalesce(b.msr_upper, 'Infinity') AS msr_upper,
        CASE WHEN b.fmsr_lower > 0 AND b.fmsr_upper < 'Infinity' THEN b.fmsr_upper / b.fmsr_lower END AS ratio
    FROM video_bounds b JOIN asked j ON j.id = b.job_id
)
SELECT
    k.job_id,
    CASE WHEN c.own THEN k.label END AS label,
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
    -- Each clip counts twice. With grouping sets instead, the clips of all jobs would be read for those of one.
    CROSS JOIN (VALUES (true), (false)) AS c (own)
GROUP BY k.job_id, CASE WHEN c.own THEN k.label END;

COMMENT ON VIEW class_robustness IS
    'One row a job and class, and one with label NULL for all classes: how many clips, and the medians of their '
    'bounds over the clips that are predicted rightly. A bound that was asked for and not found counts as 0, an '
    'unknown upper bound as Infinity.';
COMMENT ON COLUMN class_robustness.job_id IS 'number of the job';
COMMENT ON COLUMN class_robustness.label IS 'class that the clips should have; NULL: the row of all classes';
COMMENT ON COLUMN class_robustness.clips IS 'clips of the class';
COMMENT ON COLUMN class_robustness.evaluated IS 'clips whose class was predicted and that did not fail';
COMMENT ON COLUMN class_robustness.correct IS 'evaluated clips that are predicted as their label';
COMMENT ON COLUMN class_robustness.solved IS 'clips whose lower bound equals the upper one';
COMMENT ON COLUMN class_robustness.robust IS 'clips without an adversarial grid point within the radius';
COMMENT ON COLUMN class_robustness.open IS 'evaluated clips whose bounds differ';
COMMENT ON COLUMN class_robustness.misclassified IS 'clips that are not predicted as their label';
COMMENT ON COLUMN class_robustness.failed IS 'clips of which nothing is claimed';
COMMENT ON COLUMN class_robustness.not_evaluated IS 'clips whose class is not predicted yet, and that did not fail';
COMMENT ON COLUMN class_robustness.fmsr_lower_median IS 'median lower bound on FMSR, in pixels of the job''s norm';
COMMENT ON COLUMN class_robustness.fmsr_upper_median IS 'median upper bound on FMSR, in pixels of the job''s norm';
COMMENT ON COLUMN class_robustness.certified_radius_median IS
    'median radius certified for all real changes, in pixels of the job''s norm; NULL: not asked for';
COMMENT ON COLUMN class_robustness.constant_lower_median IS
    'median lower bound on MSR by the Lipschitz constant, in pixels of the job''s norm; NULL: not asked for';
COMMENT ON COLUMN class_robustness.msr_upper_median IS 'median upper bound on MSR, in pixels of the job''s norm';
COMMENT ON COLUMN class_robustness.ratio_median IS
    'median of upper over lower bound on FMSR, of clips that have both and a lower one above 0; 1 is solved';
COMMENT ON COLUMN class_robustness.ratio_clips IS 'clips that ratio_median is of';
COMMENT ON COLUMN class_robustness.seconds_mean IS 'mean worker time of an evaluated clip, in seconds';
COMMENT ON COLUMN class_robustness.seconds_median IS 'median worker time of an evaluated clip, in seconds';
