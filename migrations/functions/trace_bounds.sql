-- Appends each move of a bound to bound_events, so that the trace cannot be forgotten by a writer.
CREATE OR REPLACE FUNCTION trace_bounds() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'INSERT' OR (NEW.lower, NEW.upper) IS DISTINCT FROM (OLD.lower, OLD.upper) THEN
        INSERT INTO bound_events (video_id, lower, upper) VALUES (NEW.video_id, NEW.lower, NEW.upper);
    END IF;
    RETURN NULL;
END $$;
CREATE OR REPLACE TRIGGER trace_bounds AFTER INSERT OR UPDATE ON bounds FOR EACH ROW EXECUTE FUNCTION trace_bounds();
