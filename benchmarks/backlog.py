"""Measures planning and merging alone: nobody else is on the servers, and every result is there already."""

from __future__ import annotations

import json
import time

import sqlalchemy as sa
from sqlalchemy.orm import Session

from benchmarks.synthetic import REGION_SIZES, answer, clips_of_game, spec_of_game
from common.game import PointCounter, whole
from common.store.tables import Bound, Job, SubtreeRow, Task, Video, Worker
from common.vocab import TaskKind, TaskState, VideoStatus
from scheduler.clips import spec_of
from scheduler.exclusive import hold_truth
from scheduler.exploration import plan
from scheduler.intake.submit import submit
from scheduler.levels import Level, counter_of
from scheduler.merge import merge_returned
from scheduler.pace import Pace

CLIPS, TASK_POINTS, WORKERS = 8, 200, 64
#: Tasks that a round gives a clip, and the level of three moves.
ROOM, LEVEL = 25, Level(512, 769)
_RESULTS = sa.text(
    "INSERT INTO results (task_id, attempt, worker_id, payload, seconds)"
    " SELECT u.id, 1, 'bench', u.payload, 5 FROM unnest(CAST(:ids AS bigint[]), CAST(:payloads AS jsonb[]))"
    " AS u (id, payload)"
)
_CLAIMS = sa.text(
    "SELECT t.id, jsonb_build_object('kind', t.kind, 'spec', j.spec, 'prefix', s.prefix, 'first', s.first,"
    " 'last', s.last, 'floor', s.floor, 'threshold', s.threshold)"
    " FROM tasks t JOIN subtrees s ON s.id = t.subtree_id JOIN videos v ON v.id = t.video_id"
    " JOIN jobs j ON j.id = v.job_id"
)


def measure_backlog(engine: sa.Engine, results: int) -> dict[str, float]:
    """Plan so many tasks of eight clips, give all of them their results, and merge these; the database must be new."""
    rounds = results // (CLIPS * ROOM)
    results = rounds * CLIPS * ROOM
    videos = _explore(engine)
    begun = time.perf_counter()
    for _ in range(rounds):
        _plan_round(engine, videos)
    planning = time.perf_counter() - begun
    _return_all(engine)
    begun, merged, longest, more = time.perf_counter(), 0, 0.0, True
    pace = Pace(10.0)
    while more:
        started = time.perf_counter()
        with Session(engine, autoflush=False) as session, session.begin():
            hold_truth(session)
            here, more = merge_returned(session, pace)
        merged += here
        longest = max(longest, time.perf_counter() - started)
    merging = time.perf_counter() - begun
    with engine.connect() as connection:
        done = (
            "SELECT count(*) FROM tasks t JOIN subtrees s ON s.id = t.subtree_id"
            " WHERE t.state = 'merged' AND s.lower = s.threshold"
        )
        proved = connection.execute(sa.text(done)).scalar_one()
    if (merged, proved) != (results, results):
        raise RuntimeError(f"{merged} of {results} results were merged, and {proved} subtrees proved")
    return {
        "backlog_results": results,
        "backlog_merges_per_second": merged / merging,
        "backlog_longest_transaction_seconds": longest,
        "backlog_plans_per_second": results / planning,
    }


def _explore(engine: sa.Engine) -> list[int]:
    """Submit the clips and bring them to their level of three moves; returns their ids."""
    job_id = submit(engine, spec_of_game("backlog", 3), clips_of_game("backlog", CLIPS), 10**12).job_id
    with Session(engine, autoflush=False) as session, session.begin():
        now = session.scalar(sa.select(sa.func.now()))
        session.execute(sa.update(Task).values(state=TaskState.CANCELLED.value, finished_at=now))
        session.add(Worker(id="bench", info={}))
        spec = spec_of(session.get_one(Job, job_id))
        videos = session.scalars(sa.select(Video).order_by(Video.id)).all()
        for video in videos:
            video.status, video.clip_digest, video.prepared_at = VideoStatus.EXPLORING.value, "a" * 64, now
            video.predicted, video.margin, video.region_sizes = video.label, 1.0, REGION_SIZES
            video.radius_cost = LEVEL.threshold - 1
            video.floor, video.threshold = LEVEL.floor, LEVEL.threshold
            counter: PointCounter = counter_of(video, spec)
            video.points_total = video.points_needed = counter.upto(whole(counter.game), counter.limit)
            session.add(Bound(video_id=video.id, lower=LEVEL.floor))
            session.add(
                SubtreeRow(
                    video_id=video.id, prefix=[], first=0, last=whole(counter.game).last, floor=LEVEL.floor,
                    threshold=LEVEL.threshold, lower=LEVEL.floor,
                )
            )  # fmt: skip
        session.flush()
        return [video.id for video in videos]


def _plan_round(engine: sa.Engine, videos: list[int]) -> None:
    with Session(engine, autoflush=False) as session, session.begin():
        hold_truth(session)
        for video_id in videos:
            video = session.get_one(Video, video_id)
            spec = spec_of(session.get_one(Job, video.job_id))
            plan(session, video, spec, budget=10**12, task_points=TASK_POINTS, room=ROOM, workers=WORKERS)


def _return_all(engine: sa.Engine) -> None:
    """Append the result of every explore task."""
    with engine.begin() as connection:
        claims = connection.execute(_CLAIMS).all()
        payloads = [json.dumps(answer(claim)) for _, claim in claims]
        connection.execute(_RESULTS, {"ids": [task for task, _ in claims], "payloads": payloads})
        explore = sa.text("UPDATE tasks SET state = 'returned' WHERE kind = :kind")
        connection.execute(explore, {"kind": TaskKind.EXPLORE.value})
        connection.execute(sa.text("ANALYZE"))
