-- One row a clip and route to a lower bound: what the bound speaks of, what it is worth, and what it rests on.
-- measure: FMSR (the grid) or MSR (all real changes). lower is NULL where the route gives no bound; remark says why.
CREATE VIEW video_guarantees AS
SELECT
    b.job_id,
    b.video_id,
    b.video,
    b.norm,
    r.measure,
    r.route,
    r.guarantee,
    r.lower,
    CASE r.measure WHEN 'FMSR' THEN b.fmsr_upper ELSE b.msr_upper END AS upper,
    r.remark
FROM video_bounds b
    LEFT JOIN LATERAL (
        SELECT c.reason FROM certificates c WHERE c.video_id = b.video_id ORDER BY c.radius DESC, c.id LIMIT 1
    ) c ON true
    LEFT JOIN LATERAL (
        SELECT e.samples, e.confidence, e.fit FROM lipschitz_estimates e WHERE e.video_id = b.video_id
        ORDER BY e.id DESC LIMIT 1
    ) e ON true
    CROSS JOIN LATERAL (VALUES
        (1, 'FMSR', 'exploration', b.fmsr_lower_guarantee, b.fmsr_lower, b.reason),
        (2, 'MSR', 'certified radius', 'continuous', b.certified_radius, c.reason),
        (3, 'MSR', 'margin / constant', b.constant_guarantee,
            CASE WHEN b.constant_refuted THEN NULL ELSE b.within_constant END,
            concat_ws('; ',
                format('constant %s logits per px', trim(to_char(b.lipschitz, '9.999EEEE'))),
                format('%s samples, confidence %s, fit p = %s', e.samples, e.confidence, round(e.fit::numeric, 3)),
                CASE WHEN b.constant_refuted THEN
                    format('refuted by a witness %s px away', round(b.msr_upper::numeric, 3)) END)),
        (4, 'MSR', 'error bound', CASE b.premise WHEN 'holds' THEN b.constant_guarantee END,
            CASE WHEN b.premise = 'holds' AND NOT coalesce(b.constant_refuted, false) AND b.error_bound > 0
                THEN b.error_bound END,
            concat_ws('; ',
                CASE
                    WHEN b.premise_point = '[]' THEN 'premise fails at the unchanged clip'
                    WHEN b.premise = 'fails' THEN format('premise fails at %s', b.premise_point)
                    ELSE format('premise %s', b.premise) END,
                CASE WHEN b.error_bound = 0 THEN
                    format('vacuous: half a diagonal of the grid is %s px, FMSR is only known to be at least %s px',
                        round(b.half_diagonal::numeric, 2), round(b.fmsr_lower::numeric, 2)) END))
    ) AS r (place, measure, route, guarantee, lower, remark)
WHERE b.lower_cost IS NOT NULL
    AND CASE r.place
        WHEN 2 THEN b.certified_radius IS NOT NULL OR c.reason IS NOT NULL
        WHEN 3 THEN b.lipschitz IS NOT NULL
        ELSE true
    END
ORDER BY b.video, b.video_id, r.place;
