-- Seconds that a job has run by now: those up to its clock's last stop, and those since it runs again.
CREATE OR REPLACE FUNCTION wall_seconds(p_ran double precision, p_since timestamptz)
RETURNS double precision LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT p_ran + coalesce(greatest(extract(epoch FROM now() - p_since), 0), 0)::double precision
$$;
