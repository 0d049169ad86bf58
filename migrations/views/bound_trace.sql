-- The anytime trace of every clip: the trigger on bounds appends a row at each move.
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

COMMENT ON VIEW bound_trace IS
    'One row each time a bound moved: how a clip''s bounds closed in over time. Ask it for a clip, or for a '
    'job.';
COMMENT ON COLUMN bound_trace.job_id IS 'number of the job';
COMMENT ON COLUMN bound_trace.video_id IS 'number of the clip';
COMMENT ON COLUMN bound_trace.video IS 'path of the clip''s video file';
COMMENT ON COLUMN bound_trace.at IS 'when the bounds came to stand like this';
COMMENT ON COLUMN bound_trace.seconds_since_submit IS 'the same in seconds since the job was submitted';
COMMENT ON COLUMN bound_trace.fmsr_lower IS 'no adversarial grid point is nearer, in pixels of the job''s norm';
COMMENT ON COLUMN bound_trace.fmsr_upper IS
    'distance of the best replayed grid witness, in pixels of the job''s norm; NULL: none known';
COMMENT ON COLUMN bound_trace.fmsr_lower_guarantee IS
    'what the lower bound is worth: grid, lipschitz:estimated or lipschitz:assumed';
COMMENT ON COLUMN bound_trace.lower_cost IS 'the lower bound in whole units of tau (L1, Linf) or of tau squared (L2)';
COMMENT ON COLUMN bound_trace.upper_cost IS 'the upper bound in the same units; NULL: none known';
