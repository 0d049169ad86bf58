-- Median of the values that are known: the mean of the two in the middle where they are even in number. Infinity is a
-- value like others; it meets no second one of another sign, so that the mean is never undefined.
CREATE OR REPLACE FUNCTION median(p_values double precision[])
RETURNS double precision LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT (percentile_disc(0.5) WITHIN GROUP (ORDER BY v) + percentile_disc(0.5) WITHIN GROUP (ORDER BY v DESC)) / 2
    FROM unnest(p_values) AS known (v)
$$;
