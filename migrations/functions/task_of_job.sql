-- A task belongs to its clip's job, whoever inserts it: what is ready of a job is then found without its clips.
CREATE OR REPLACE FUNCTION task_of_job() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    SELECT job_id INTO NEW.job_id FROM videos WHERE id = NEW.video_id;
    RETURN NEW;
END $$;
CREATE OR REPLACE TRIGGER task_of_job BEFORE INSERT ON tasks FOR EACH ROW EXECUTE FUNCTION task_of_job();
