-- One row an explore task whose result was merged: which points of which subtree it says are not adversarial (those up
-- to position with floor <= cost < reached), and what a check needs to know.
CREATE VIEW clip_explorations AS
SELECT
    v.job_id,
    t.id AS task_id,
    v.id AS video_id,
    v.path AS video,
    v.label,
    s.prefix,
    s.first,
    s.last,
    s.floor,
    least((r.payload ->> 'reached')::bigint, (r.payload ->> 'undecided')::bigint) AS reached,
    r.payload -> 'position' AS position,
    (r.payload ->> 'explored')::bigint AS explored,
    flow_distance(
        j.spec ->> 'norm', (j.spec ->> 'tau')::double precision,
        least((r.payload ->> 'reached')::bigint, (r.payload ->> 'undecided')::bigint)) AS distance,
    v.predicted,
    v.clip_digest,
    v.radius_cost,
    j.spec
FROM tasks t
    JOIN results r ON r.task_id = t.id
    JOIN subtrees s ON s.id = t.subtree_id
    JOIN videos v ON v.id = t.video_id
    JOIN jobs j ON j.id = v.job_id
WHERE t.kind = 'explore' AND t.state = 'merged';
