-- Every route to a lower bound, whether it leads there or not. Routes are numbers, and columns look up what each has: a
-- list of rows made anew for each clip (VALUES) takes three times as long.
CREATE VIEW video_guarantees AS
SELECT
    b.job_id,
    b.video_id,
    b.video,
    b.norm,
    r.place,
    CASE r.place WHEN 1 THEN 'FMSR' ELSE 'MSR' END AS measure,
    r.route,
    CASE r.place
        WHEN 1 THEN b.fmsr_lower_guarantee
        WHEN 2 THEN 'continuous'
        WHEN 3 THEN b.constant_guarantee
        ELSE CASE b.premise WHEN 'holds' THEN b.constant_guarantee END
    END AS guarantee,
    CASE r.place
        WHEN 1 THEN b.fmsr_lower
        WHEN 2 THEN b.certified_radius
        WHEN 3 THEN CASE WHEN b.constant_refuted THEN NULL ELSE b.within_constant END
        ELSE CASE WHEN b.premise = 'holds' AND NOT coalesce(b.constant_refuted, false) AND b.error_bound > 0
            THEN b.error_bound END
    END AS lower,
    CASE r.place WHEN 1 THEN b.fmsr_upper ELSE b.msr_upper END AS upper,
    CASE r.place
        WHEN 1 THEN b.reason
        WHEN 2 THEN c.reason
        WHEN 3 THEN concat_ws('; ',
            format('constant %s logits per px', trim(to_char(b.lipschitz, '9.999EEEE'))),
            format('%s samples, confidence %s, fit p = %s', e.samples, e.confidence, round(e.fit::numeric, 3)),
            CASE WHEN b.constant_refuted THEN
                format('refuted by a witness %s px away', round(b.msr_upper::numeric, 3)) END)
        ELSE concat_ws('; ',
            CASE
                WHEN b.premise_point = '[]' THEN 'premise fails at the unchanged clip'
                WHEN b.premise = 'fails' THEN format('premise fails at %s', b.premise_point)
                ELSE format('premise %s', b.premise) END,
            CASE WHEN b.error_bound = 0 THEN
                format('vacuous: half a diagonal of the grid is %s px, FMSR is only known to be at least %s px',
                    round(b.half_diagonal::numeric, 2), round(b.fmsr_lower::numeric, 2)) END)
    END AS remark
FROM video_bounds b
    LEFT JOIN LATERAL (
        SELECT c.reason FROM certificates c WHERE c.video_id = b.video_id ORDER BY c.radius DESC, c.id LIMIT 1
    ) c ON true
    LEFT JOIN LATERAL (
        SELECT e.samples, e.confidence, e.fit FROM lipschitz_estimates e WHERE e.video_id = b.video_id
        ORDER BY e.id DESC LIMIT 1
    ) e ON true
    CROSS JOIN (VALUES (1, 'exploration'), (2, 'certified radius'), (3, 'margin / constant'), (4, 'error bound'))
        AS r (place, route)
WHERE b.lower_cost IS NOT NULL
    AND CASE r.place
        WHEN 2 THEN b.certified_radius IS NOT NULL OR c.reason IS NOT NULL
        WHEN 3 THEN b.lipschitz IS NOT NULL
        ELSE true
    END;

COMMENT ON VIEW video_guarantees IS
    'One row a clip and route to a lower bound: what it speaks of, what it is worth, and what it rests on.';
COMMENT ON COLUMN video_guarantees.job_id IS 'number of the job';
COMMENT ON COLUMN video_guarantees.video_id IS 'number of the clip';
COMMENT ON COLUMN video_guarantees.video IS 'path of the clip''s video file';
COMMENT ON COLUMN video_guarantees.norm IS 'how changes are measured: L1, L2 or Linf';
COMMENT ON COLUMN video_guarantees.place IS 'place of the route among those of its clip, from 1 on';
COMMENT ON COLUMN video_guarantees.measure IS 'FMSR (the grid) or MSR (all real changes)';
COMMENT ON COLUMN video_guarantees.route IS
    'how the bound was found: exploration, certified radius, margin / constant or error bound';
COMMENT ON COLUMN video_guarantees.guarantee IS
    'what the bound is worth: grid, continuous, lipschitz:estimated or lipschitz:assumed; NULL: there is none';
COMMENT ON COLUMN video_guarantees.lower IS 'the lower bound, in pixels of the job''s norm; NULL: the route gives none';
COMMENT ON COLUMN video_guarantees.upper IS
    'upper bound on the same measure, in pixels of the job''s norm; NULL: none known';
COMMENT ON COLUMN video_guarantees.remark IS 'what the bound rests on, or why there is none';
