"""`flowcert worker --gpus` on real servers: a pinned process a GPU, kept alive, stopped together, known by its device.

Where there is no GPU the workers compute on the CPU, and a program stands in for nvidia-smi; the rest is as it is.
"""

from __future__ import annotations

import dataclasses
import os
import re
import signal
from collections.abc import Callable
from pathlib import Path
from random import Random

import pytest
import sqlalchemy as sa
import torch

from scheduler.intake.dataset import FoundClip
from scheduler.intake.submit import submit
from scheduler.processes import STOP_SECONDS
from tests.crew import Crew
from tests.harness import BUDGET, check_clip
from tests.tiny import TinyGame, draw_games

pytestmark = pytest.mark.acceptance
UUIDS = ("GPU-6b8f1c0e-3c1d-4f0e-9a55-0d7c5a1b2c3d", "GPU-a1b2c3d4-0000-1111-2222-333344445555")
COMMAND = "scheduler.cli.main"


@pytest.fixture
def crew(make_crew: Callable[..., Crew], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Crew:
    """The servers' urls for real processes, and an nvidia-smi that lists two GPUs."""
    program = tmp_path / "bin" / "nvidia-smi"
    program.parent.mkdir()
    lines = "\n".join(f"GPU {number}: NVIDIA H100 (UUID: {uuid})" for number, uuid in enumerate(UUIDS))
    program.write_text(f"#!/bin/sh\ncat <<'END'\n{lines}\nEND\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    return make_crew(beat_seconds=0.5, max_attempts=2)


def children(crew: Crew, many: int) -> list[int]:
    """Process ids of the workers' children, once there are so many, in the order in which they were seen."""
    query = "SELECT (info ->> 'pid')::int AS pid FROM workers ORDER BY started_at"
    crew.wait(f"{many} workers", lambda: len(crew.rows(query)) == many)
    return [row.pid for row in crew.rows(query)]


def environment_of(pid: int) -> dict[str, str]:
    """The environment that a process was started with."""
    entries = Path(f"/proc/{pid}/environ").read_bytes().decode().split("\0")
    return dict(entry.split("=", 1) for entry in entries if entry)


def libraries_of(pid: int) -> str:
    """Files that are mapped into a process."""
    return Path(f"/proc/{pid}/maps").read_text()


def parent_of(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def gone(*pids: int) -> bool:
    return not any(Path(f"/proc/{pid}").exists() for pid in pids)


def test_a_pinned_worker_a_gpu_is_kept_alive_and_stopped_in_time(crew: Crew) -> None:
    family = crew.start(COMMAND, "worker", "--gpus", "all")
    pids = children(crew, 2)
    assert sorted(environment_of(pid)["CUDA_VISIBLE_DEVICES"] for pid in pids) == sorted(UUIDS)

    # What forks has neither torch nor OpenCV nor CUDA; what it forked has loaded them itself.
    for pid in pids:
        parent, child = libraries_of(parent_of(pid)), libraries_of(pid)
        assert all(name in child for name in ("libtorch_cpu", "cv2"))
        assert all(name not in parent for name in ("libtorch", "cv2", "libcuda"))

    # Killed, a worker comes back on its own GPU.
    lost = environment_of(pids[0])["CUDA_VISIBLE_DEVICES"]
    os.kill(parent_of(pids[0]), signal.SIGKILL)
    pids.append(children(crew, 3)[-1])
    assert environment_of(pids[-1])["CUDA_VISIBLE_DEVICES"] == lost
    assert "was killed by SIGKILL; starting it again" in crew.logs()

    parents = [parent_of(pid) for pid in pids[1:]]
    family.send_signal(signal.SIGTERM)
    assert family.wait(STOP_SECONDS + 10) == 0
    assert "stopping; the workers hand in what they have proved" in crew.logs()
    assert gone(*pids, *parents)


def test_a_gpu_that_is_not_there_is_refused_before_anything_starts(crew: Crew) -> None:
    assert crew.start(COMMAND, "worker", "--gpus", "0,2").wait(60) == 2
    assert "error: --gpus: there is no GPU 2; nvidia-smi lists 0, 1" in crew.logs()
    assert crew.rows("SELECT 1 FROM workers") == []


def with_model(game: TinyGame, factory: str, **args: object) -> TinyGame:
    given = {"name": f"tests.small_device:{factory}", "args": {**game.spec.model.args, **args}}
    spec = game.spec.model_copy(update={"model": game.spec.model.model_copy(update=given)})
    return dataclasses.replace(game, spec=spec)


@pytest.fixture
def submitted(engine: sa.Engine) -> Callable[[TinyGame], int]:
    return lambda game: submit(engine, game.spec, [FoundClip(game.label, str(game.video))], BUDGET).job_id


def test_a_worker_tells_what_it_computes_with_and_refuses_what_it_cannot(
    crew: Crew, submitted: Callable[[TinyGame], int], tmp_path: Path
) -> None:
    games = list(draw_games(Random(3), tmp_path, tmp_path / "drawn", 4))
    log = tmp_path / "built"
    good = {submitted(with_model(games[0], "noted", log=str(log))): games[0]}
    crew.start("scheduler")
    crew.start(COMMAND, "worker", "--processes", "1")
    (pid,) = children(crew, 1)
    crew.wait_until_done()
    # Built once, however many tasks it served.
    assert log.read_text().split() == [str(pid)]
    assert crew.rows("SELECT count(*) AS n FROM attempts")[0].n > 2

    no_memory = (
        r"gave up after 2 attempts; the last: c\w+: no memory for one of the points, where batches of 1 are wanted"
    )
    refused = {
        submitted(with_model(games[1], "SmallWhole", most=0)): no_memory,
        submitted(with_model(games[2], "Reckless")): "the model's code turned on TF32 or reduced precision",
    }
    good[submitted(with_model(games[3], "careless"))] = games[3]
    crew.wait_until_done()
    for job, game in good.items():
        check_clip(crew.engine, job, game.truth)
    for failed, reason in refused.items():
        (clip,) = crew.rows("SELECT verdict, reason FROM videos WHERE job_id = :job", job=failed)
        assert clip.verdict == "failed"
        assert re.match(reason, clip.reason), clip.reason

    said = crew.rows("SELECT info -> 'versions' AS versions FROM workers")[0].versions
    assert (said["matmul_tf32"], said["cudnn_tf32"], said["deterministic"]) == (False, False, True)
    gpu = torch.cuda.is_available()
    devices = crew.rows("SELECT * FROM attempt_devices")
    assert len(devices) == crew.rows("SELECT count(*) AS n FROM attempts")[0].n
    for row in devices:
        assert (row.device, row.tf32, row.torch) == ("cuda" if gpu else "cpu", False, torch.__version__)
        assert all((value is not None) is gpu for value in (row.gpu, row.gpu_uuid, row.driver, row.cuda))
    assert {(row.kind, row.outcome) for row in devices} >= {("prepare", "returned"), ("prepare", "failed")}
