-- Median of the values that are known: the mean of the two in the middle where they are even in number. Infinity is a
-- value like others; it meets no second one of another sign, so that the mean is never undefined.
CREATE OR REPLACE FUNCTION median(p_values double precision[])
RETURNS double precision LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT (s.ordered[(s.known + 1) / 2] + s.ordered[(s.known + 2) / 2]) / 2
    FROM (
        SELECT array_agg(v ORDER BY v) AS ordered, count(*)::integer AS known
        FROM unnest(p_values) v WHERE v IS NOT NULL
    ) s
$$;
