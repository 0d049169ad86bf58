-- What a worker says of itself is stored once, when it is first seen.
CREATE VIEW attempt_devices AS
SELECT
    v.job_id,
    v.id AS video_id,
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

COMMENT ON VIEW attempt_devices IS
    'One row an attempt: what it was computed on. A worker stands for one process on one device.';
COMMENT ON COLUMN attempt_devices.job_id IS 'number of the job';
COMMENT ON COLUMN attempt_devices.video_id IS 'number of the clip';
COMMENT ON COLUMN attempt_devices.video IS 'path of the clip''s video file';
COMMENT ON COLUMN attempt_devices.task IS 'number of the task';
COMMENT ON COLUMN attempt_devices.attempt IS 'number of the attempt, 1 for the task''s first';
COMMENT ON COLUMN attempt_devices.kind IS 'kind of task: prepare, attack, estimate, bound or explore';
COMMENT ON COLUMN attempt_devices.outcome IS
    'how it ended: returned, failed, expired, late or refused; NULL: it has not ended';
COMMENT ON COLUMN attempt_devices.worker IS 'name of the worker';
COMMENT ON COLUMN attempt_devices.host IS 'name of the worker''s machine';
COMMENT ON COLUMN attempt_devices.device IS 'what it computes on: cpu or cuda';
COMMENT ON COLUMN attempt_devices.gpu IS 'name of the GPU; NULL on a CPU';
COMMENT ON COLUMN attempt_devices.gpu_uuid IS 'the GPU''s own identifier; NULL on a CPU';
COMMENT ON COLUMN attempt_devices.driver IS 'version of the GPU''s driver; NULL on a CPU';
COMMENT ON COLUMN attempt_devices.cuda IS 'version of CUDA that torch was built for; NULL on a CPU';
COMMENT ON COLUMN attempt_devices.torch IS 'version of torch';
COMMENT ON COLUMN attempt_devices.tf32 IS 'whether products may be rounded to TF32; NULL where the worker did not say';
COMMENT ON COLUMN attempt_devices.started_at IS 'when the worker claimed the task';
COMMENT ON COLUMN attempt_devices.ended_at IS 'when the attempt ended; NULL: it has not';
