-- One row a certified radius, and what a check needs to know. predicted: the class that no real change within it alters.
CREATE VIEW clip_certificates AS
SELECT
    v.job_id,
    c.id AS certificate_id,
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
