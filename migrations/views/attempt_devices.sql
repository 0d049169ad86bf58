-- One row an attempt: what it was computed on. A worker's id stands for one process on one device, and what a worker
-- says of itself is stored once, when it is first seen.
CREATE VIEW attempt_devices AS
SELECT
    v.job_id,
    v.path AS video,
    a.task_id AS task,
    a.attempt,
    t.kind,
    a.outcome,
    a.worker_id AS worker,
    w.info ->> 'host' AS host,
    w.info ->> 'device' AS device,
    w.info #>> '{versions,gpu}' AS gpu,
    w.info #>> '{versions,gpu_uuid}' AS gpu_uuid,
    w.info #>> '{versions,driver}' AS driver,
    w.info #>> '{versions,cuda}' AS cuda,
    w.info #>> '{versions,torch}' AS torch,
    (w.info #>> '{versions,matmul_tf32}')::boolean OR (w.info #>> '{versions,cudnn_tf32}')::boolean AS tf32,
    a.started_at,
    a.ended_at
FROM attempts a
    JOIN tasks t ON t.id = a.task_id
    JOIN videos v ON v.id = t.video_id
    JOIN workers w ON w.id = a.worker_id;
