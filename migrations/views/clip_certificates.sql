-- Evidence for bounds on MSR from below.
CREATE VIEW clip_certificates AS
SELECT
    v.job_id,
    c.id AS certificate_id,
    c.task_id AS task,
    v.id AS video_id,
    v.path AS video,
    v.label,
    c.radius,
    c.margin_bound,
    c.checks,
    v.predicted,
    v.clip_digest,
    j.spec
FROM certificates c
    JOIN videos v ON v.id = c.video_id
    JOIN jobs j ON j.id = v.job_id
WHERE c.radius > 0;

COMMENT ON VIEW clip_certificates IS
    'One row a certified radius: no real change within it alters the class. With what a check of it needs to '
    'know.';
COMMENT ON COLUMN clip_certificates.job_id IS 'number of the job';
COMMENT ON COLUMN clip_certificates.certificate_id IS 'number of the certificate';
COMMENT ON COLUMN clip_certificates.task IS 'number of the task that certified it';
COMMENT ON COLUMN clip_certificates.video_id IS 'number of the clip';
COMMENT ON COLUMN clip_certificates.video IS 'path of the clip''s video file';
COMMENT ON COLUMN clip_certificates.label IS 'class that the clip should have';
COMMENT ON COLUMN clip_certificates.radius IS 'the certified radius, in pixels of the job''s norm';
COMMENT ON COLUMN clip_certificates.margin_bound IS 'what the margin is at least within it, in logits';
COMMENT ON COLUMN clip_certificates.checks IS 'radii that were tried';
COMMENT ON COLUMN clip_certificates.predicted IS 'class that no real change within the radius alters';
COMMENT ON COLUMN clip_certificates.clip_digest IS 'SHA-256 of the clip''s frames';
COMMENT ON COLUMN clip_certificates.spec IS 'the job''s specification';
