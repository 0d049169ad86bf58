-- One row each time a bound moved: the anytime trace of every clip, in pixels of the job's norm.
CREATE VIEW bound_trace AS
SELECT
    v.job_id,
    e.video_id,
    v.path AS video,
    e.at,
    extract(epoch FROM e.at - j.created_at)::double precision AS seconds_since_submit,
    flow_distance(j.spec ->> 'norm', (j.spec ->> 'tau')::double precision, e.lower) AS fmsr_lower,
    flow_distance(j.spec ->> 'norm', (j.spec ->> 'tau')::double precision, e.upper) AS fmsr_upper,
    b.lower_guarantee AS fmsr_lower_guarantee,
    e.lower AS lower_cost,
    e.upper AS upper_cost
FROM bound_events e
    JOIN bounds b ON b.video_id = e.video_id
    JOIN videos v ON v.id = e.video_id
    JOIN jobs j ON j.id = v.job_id;
