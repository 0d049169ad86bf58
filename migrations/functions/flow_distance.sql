-- Distance in pixels of an integer cost (common.game.costs.distance in SQL, for views).
CREATE OR REPLACE FUNCTION flow_distance(p_norm text, p_tau double precision, p_cost bigint)
RETURNS double precision LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT CASE p_norm WHEN 'L2' THEN p_tau * sqrt(p_cost::double precision) ELSE p_tau * p_cost END
$$;
