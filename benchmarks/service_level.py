"""Measures complete two-move levels end to end through the embedded service, with one worker and with two.

A job of one clip gives the time of a level; a job of several, as jobs are, gives what the second worker is worth. Each
is run twice, in turn, and the quicker run counts: what else the machine does makes a run slower, never quicker.
"""

from __future__ import annotations

import os
import tempfile
import time
from decimal import Decimal
from pathlib import Path

import torch
from sqlalchemy import Engine, text

from common.jobspec import FarnebackSpec, JobSpec, ModelSpec, SamplingSpec
from common.store.engine import open_engine
from common.vocab import Norm
from migrations.schema import upgrade
from scheduler.embedded import start_stack
from scheduler.intake.dataset import FoundClip
from scheduler.intake.submit import submit
from scheduler.processes import SCHEDULER, WORKER, Family
from worker.demo.render import render_dataset
from worker.models import build, inspect_weights, save_weights

#: One move of one of 16 regions of a 64x64 frame costs 256 in L1, so two moves fit a radius of 512 px.
RADIUS = Decimal(512)
#: Clips of the job that tells what a second worker is worth.
CLIPS = 8
ARGS = {"classes": 4, "height": 64, "width": 64, "hidden": 64}


def measure_service() -> dict[str, float]:
    """Run the level with two workers and with one, one thread each, on servers of their own."""
    with tempfile.TemporaryDirectory(prefix="flowcert-bench-") as folder:
        home = Path(folder)
        label, spec, videos = _job(home)
        best: dict[tuple[int, int], dict[str, float]] = {}
        for turn, (clips, workers) in enumerate(2 * [(1, 2), (1, 1), (CLIPS, 2), (CLIPS, 1)]):
            found = _turn(
                home / f"turn-{turn}", workers, spec, [FoundClip(label, str(v), None) for v in videos[:clips]]
            )
            known = best.setdefault((clips, workers), found)
            best[clips, workers] = min(known, found, key=lambda run: run["explore_seconds"])
    return {
        "two_move_level_seconds": best[1, 2]["seconds"],
        "two_move_level_points": best[1, 2]["points"],
        "one_worker_level_seconds": best[1, 1]["seconds"],
        "two_workers_over_one_for_one_clip": best[1, 1]["explore_seconds"] / best[1, 2]["explore_seconds"],
        "two_workers_over_one_clips": CLIPS,
        "two_workers_over_one": best[CLIPS, 1]["explore_seconds"] / best[CLIPS, 2]["explore_seconds"],
        "peak_worker_mib": max(run["peak_mib"] for run in best.values()),
    }


def _turn(data: Path, workers: int, spec: JobSpec, clips: list[FoundClip]) -> dict[str, float]:
    """Run one job from nothing, on servers of its own."""
    with start_stack(data) as stack:
        engine = open_engine(stack.urls.database_url)
        upgrade(engine)
        environment = {
            **os.environ,
            "FLOWCERT_DATABASE_URL": stack.urls.database_url,
            "FLOWCERT_BROKER_URL": stack.urls.broker_url,
            "FLOWCERT_DATA_DIR": str(data),
        }
        found = _run(engine, environment, data, workers, spec, clips)
        engine.dispose()
        return found


def _job(home: Path) -> tuple[str, JobSpec, list[Path]]:
    """Render clips of one class, and save a random model that gives every clip this class by a wide margin."""
    rendered = render_dataset(home / "clips", per_class=CLIPS, seed=0)
    label = rendered[0][1]
    classes = sorted(folder.name for folder in (home / "clips").iterdir())
    torch.manual_seed(0)
    module = build("cnn_lstm", ARGS)
    with torch.no_grad():
        module.get_parameter("dense.bias")[classes.index(label)] = 5.0
    weights = home / "weights.safetensors"
    sampling = SamplingSpec(frames=16, height=64, width=64)
    save_weights(weights, module, name="cnn_lstm", args=ARGS, classes=tuple(classes), frames=16, height=64, width=64)
    sha256 = inspect_weights("cnn_lstm", weights, ARGS, tuple(classes)).sha256
    spec = JobSpec(
        dataset=str(home / "clips"),
        model=ModelSpec(name="cnn_lstm", weights=str(weights), args=ARGS, classes=tuple(classes), sha256=sha256),
        sampling=sampling,
        flow=FarnebackSpec(),
        features="grid:4x4",
        norm=Norm.L1,
        tau=Decimal(1),
        radius=RADIUS,
    )
    return label, spec, [path for path, of in rendered if of == label]


def _run(
    engine: Engine, environment: dict[str, str], home: Path, workers: int, spec: JobSpec, clips: list[FoundClip]
) -> dict[str, float]:
    """Start the processes, wait until the workers beat, and time the job from its submit to its end."""
    family = Family(environment, home / "logs", print)
    try:
        family.start("scheduler", SCHEDULER)
        for number in range(workers):
            family.start(f"worker-{number}", WORKER)
        while _scalar(engine, "SELECT count(*) FROM workers") < workers:
            time.sleep(0.1)
        begun = time.perf_counter()
        job = submit(engine, spec, clips, budget=10**9).job_id
        while _scalar(engine, "SELECT count(*) FROM jobs WHERE status = 'running'"):
            family.tend()
            time.sleep(0.1)
        elapsed = time.perf_counter() - begun
        robust = _scalar(engine, f"SELECT count(*) FROM videos WHERE job_id = {int(job)} AND verdict = 'robust'")
        if robust != len(clips):
            raise RuntimeError(f"the level was completed for {robust} of {len(clips)} clips only")
        span = "SELECT extract(epoch FROM max(a.ended_at) - min(a.started_at))::float FROM attempts a"
        return {
            "seconds": elapsed,
            "explore_seconds": _scalar(engine, f"{span} JOIN tasks t ON t.id = a.task_id WHERE t.kind = 'explore'"),
            "points": _scalar(engine, "SELECT sum(points_explored)::bigint FROM videos"),
            "peak_mib": max(_peak_mib(pid) for pid in _pids(engine)),
        }
    finally:
        family.stop()


def _pids(engine: Engine) -> list[int]:
    with engine.connect() as connection:
        return list(connection.scalars(text("SELECT pid FROM worker_activity")))


def _peak_mib(pid: int) -> float:
    """Greatest resident memory a process has had, as the kernel counts it (VmHWM)."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM"))


def _scalar(engine: Engine, statement: str) -> float:
    with engine.connect() as connection:
        return connection.execute(text(statement)).scalar()
