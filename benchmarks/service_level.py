"""Measures a complete two-move level end to end through the embedded service, with one worker and with two.

Each is run twice, in turn, and the quicker run counts: what else the machine does makes a run slower, never quicker.
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
ARGS = {"classes": 4, "height": 64, "width": 64, "hidden": 64}


def measure_service() -> dict[str, float]:
    """Run the level with two workers and with one, one thread each, on servers of their own."""
    with tempfile.TemporaryDirectory(prefix="flowcert-bench-") as folder:
        home = Path(folder)
        label, spec, video = _job(home)
        level: dict[int, dict[str, float]] = {}
        for turn, workers in enumerate((2, 1, 2, 1)):
            data = home / f"turn-{turn}"
            with start_stack(data) as stack:
                engine = open_engine(stack.urls.database_url)
                upgrade(engine)
                environment = {
                    **os.environ,
                    "FLOWCERT_DATABASE_URL": stack.urls.database_url,
                    "FLOWCERT_BROKER_URL": stack.urls.broker_url,
                    "FLOWCERT_DATA_DIR": str(data),
                }
                found = _run(engine, environment, data, workers, spec, FoundClip(label, str(video), None))
                level[workers] = min(found, level.get(workers, found), key=lambda run: run["explore_seconds"])
                engine.dispose()
    return {
        "two_move_level_seconds": level[2]["seconds"],
        "two_move_level_points": level[2]["points"],
        "one_worker_level_seconds": level[1]["seconds"],
        "two_workers_over_one": level[1]["explore_seconds"] / level[2]["explore_seconds"],
        "peak_worker_mib": max(level[1]["peak_mib"], level[2]["peak_mib"]),
    }


def _job(home: Path) -> tuple[str, JobSpec, Path]:
    """Render a clip, and save a random model that gives every clip of it the same class by a wide margin."""
    path, label = render_dataset(home / "clips", per_class=1, seed=0)[0]
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
    return label, spec, path


def _run(
    engine: Engine, environment: dict[str, str], home: Path, workers: int, spec: JobSpec, clip: FoundClip
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
        job = submit(engine, spec, [clip], budget=10**9).job_id
        while _scalar(engine, "SELECT count(*) FROM jobs WHERE status = 'running'"):
            family.tend()
            time.sleep(0.1)
        elapsed = time.perf_counter() - begun
        verdict = _scalar(engine, f"SELECT verdict FROM videos WHERE job_id = {int(job)}")
        if verdict != "robust":
            raise RuntimeError(f"the level was not completed: verdict {verdict}")
        span = "SELECT extract(epoch FROM max(a.ended_at) - min(a.started_at))::float FROM attempts a"
        return {
            "seconds": elapsed,
            "explore_seconds": _scalar(engine, f"{span} JOIN tasks t ON t.id = a.task_id WHERE t.kind = 'explore'"),
            "points": _scalar(engine, "SELECT points_explored FROM videos"),
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
