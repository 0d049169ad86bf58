-- A job's clock stops when the job does, whoever stops it; what it has run so far is kept.
CREATE OR REPLACE FUNCTION stop_clock() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.status <> 'running' AND NEW.clock_since IS NOT NULL THEN
        NEW.ran_seconds := wall_seconds(NEW.ran_seconds, NEW.clock_since);
        NEW.clock_since := NULL;
    END IF;
    RETURN NEW;
END $$;
CREATE OR REPLACE TRIGGER stop_clock BEFORE UPDATE ON jobs FOR EACH ROW EXECUTE FUNCTION stop_clock();
