-- Lower bounds only rise and upper bounds only fall; whoever tries otherwise is stopped, never corrected.
CREATE OR REPLACE FUNCTION guard_bounds() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.lower < OLD.lower THEN
        RAISE EXCEPTION 'lower bound of video % would fall from % to %', OLD.video_id, OLD.lower, NEW.lower
            USING ERRCODE = 'check_violation';
    END IF;
    IF OLD.upper IS NOT NULL AND (NEW.upper IS NULL OR NEW.upper > OLD.upper) THEN
        RAISE EXCEPTION 'upper bound of video % would rise from % to %', OLD.video_id, OLD.upper, NEW.upper
            USING ERRCODE = 'check_violation';
    END IF;
    RETURN NEW;
END $$;
CREATE OR REPLACE TRIGGER guard_bounds BEFORE UPDATE ON bounds FOR EACH ROW EXECUTE FUNCTION guard_bounds();
