"""Clips that kill their worker, hosts with a wrong file or another version, a full disk: one reason each, no hang."""

from __future__ import annotations

import dataclasses
import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from random import Random

import cv2
import numpy as np
import pytest
import sqlalchemy as sa

from scheduler.intake.dataset import FoundClip
from scheduler.intake.submit import submit
from tests.crew import ROOT, Crew, check_everything, child_of
from tests.harness import BUDGET, check_clip
from tests.programs import Programs
from tests.tiny import TinyGame, draw_games

pytestmark = pytest.mark.acceptance


@pytest.fixture(scope="module")
def game(tmp_path_factory: pytest.TempPathFactory) -> TinyGame:
    """A small game with its truth."""
    folder = tmp_path_factory.mktemp("games")
    return next(draw_games(Random(4), folder, folder / "cache", 1))


@pytest.fixture
def crew(make_crew: Callable[..., Crew]) -> Crew:
    """Processes with short leases whose tasks are small, so that there are many."""
    return make_crew(lease_seconds=3, beat_seconds=0.5, task_points=50, batch_points=1, max_attempts=2)


@pytest.fixture
def patient_crew(make_crew: Callable[..., Crew]) -> Crew:
    """Processes that may stand still without being given up."""
    return make_crew(lease_seconds=60, beat_seconds=0.5)


def begin(crew: Crew, game: TinyGame, *others: Path) -> int:
    """Submit a game, with other clips in the same job; returns the job."""
    clips = [FoundClip(game.label, str(path)) for path in (*others, game.video)]
    return submit(crew.engine, game.spec, clips, BUDGET).job_id


def with_model(game: TinyGame, dataset: str, **changes: object) -> TinyGame:
    """The same game as another job, with another model."""
    model = game.spec.model.model_copy(update=changes)
    return dataclasses.replace(game, spec=game.spec.model_copy(update={"model": model, "dataset": dataset}))


def plain_video(path: Path, like: Path, level: int) -> Path:
    """Write a video of one brightness, of the size and length of another."""
    known = cv2.VideoCapture(str(like))
    size = int(known.get(cv2.CAP_PROP_FRAME_WIDTH)), int(known.get(cv2.CAP_PROP_FRAME_HEIGHT))
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 25, size)
    for _ in range(9):
        writer.write(np.full((size[1], size[0], 3), level, np.uint8))
    writer.release()
    return path


def test_clips_that_kill_their_worker_are_given_up_and_the_job_goes_on(
    crew: Crew, game: TinyGame, tmp_path: Path
) -> None:
    white = plain_video(tmp_path / "white.avi", game.video, 255)
    black = plain_video(tmp_path / "black.avi", game.video, 0)
    job = begin(crew, with_model(game, "mortal", name="tests.mortal_model:MortalCnnLstm"), white, black)
    # Nothing can be kept between tasks either: the folder of prepared clips cannot be made.
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "clips").write_text("a file")
    crew.start("scheduler")
    worker = crew.start("worker")
    crew.wait_until_done(240)
    # The parent lives through the death of its child and its want of memory.
    assert worker.poll() is None
    ends = {Path(row.path).stem: row for row in crew.rows("SELECT path, verdict, reason FROM videos")}
    assert ends["white"].verdict == ends["black"].verdict == "failed"
    assert ends["white"].reason.startswith("gave up after 2 attempts, at 2 of which the worker died or hung over it")
    assert ends["black"].reason == "gave up after 2 attempts; the last: the worker ran out of memory"
    (good,) = crew.rows("SELECT lower, upper FROM bounds WHERE video_id = (SELECT max(id) FROM videos)")
    if game.truth.fmsr is None:
        assert (ends[game.video.stem].verdict, good.upper) == ("robust", None)
    else:
        assert (good.lower, good.upper) == (game.truth.fmsr, game.truth.fmsr)
    assert crew.rows("SELECT FROM jobs WHERE id = :job AND status = 'done'", job=job)
    assert "clip_cache.not_stored" in crew.logs()


def test_a_wrong_weights_file_on_one_host_leaves_the_job_to_the_others(
    patient_crew: Crew, game: TinyGame, tmp_path: Path
) -> None:
    crew = patient_crew
    weights = Path(shutil.copy(game.spec.model.weights, tmp_path / "weights.safetensors"))
    pinned = with_model(game, "pinned", weights=str(weights), name="tests.whole_model:WholeCnnLstm")
    job = begin(crew, pinned)
    scheduler = crew.start("scheduler")
    right = child_of(crew, crew.start("worker").pid)
    crew.wait("the model to be loaded", lambda: crew.rows("SELECT FROM attempts WHERE ended_at IS NOT NULL"))
    # The next task is for the other worker.
    scheduler.send_signal(signal.SIGSTOP)
    os.kill(right, signal.SIGSTOP)
    # From here on the file on disk is another: what a second host would have.
    weights.write_bytes(weights.read_bytes()[:-4] + b"\0\0\0\1")
    wrong = child_of(crew, crew.start("worker").pid)
    scheduler.send_signal(signal.SIGCONT)
    attempts = "SELECT FROM attempts a JOIN workers w ON w.id = a.worker_id WHERE (info ->> 'pid')::int = :pid"
    crew.wait("the other worker to refuse", lambda: crew.rows(f"{attempts} AND outcome = 'refused'", pid=wrong))
    os.kill(right, signal.SIGCONT)
    check_everything(crew, {job: pinned})
    refused = crew.rows(f"{attempts} AND outcome <> 'returned'", pid=right)
    assert (len(crew.rows(attempts, pid=wrong)), refused) == (1, [])

    # A job whose file no host has fails, and says why.
    gone = with_model(game, "gone", weights=str(tmp_path / "gone.safetensors"))
    job = begin(crew, gone)
    crew.wait_until_done()
    ((reason,),) = crew.rows("SELECT reason FROM videos WHERE job_id = :job", job=job)
    assert reason.startswith(("no live worker can do it; the last said: weights: ", "gave up after 2 attempts"))
    assert "gone.safetensors: cannot be read (No such file or directory)" in reason


def test_a_worker_of_another_version_does_not_start_and_ends_at_an_upgrade(
    crew: Crew, game: TinyGame, tmp_path: Path
) -> None:
    other = tmp_path / "other"
    for package in ("common", "worker", "migrations"):
        shutil.copytree(ROOT / package, other / package)
    edited = crew.start("worker", cwd=other)
    child = child_of(crew, edited.pid)
    with (other / "worker" / "judge.py").open("a", encoding="utf-8") as source:
        source.write("# Another rounding.\n")
    # A new child reads the new sources, and its parent has the old ones.
    os.kill(child, signal.SIGKILL)
    assert edited.wait(120) == 2
    assert "files have changed since this worker was started" in crew.logs()
    stranger = crew.start("worker", cwd=other)
    assert stranger.wait(120) == 2
    assert "is set up for version" in crew.logs()
    assert "run: flowcert db upgrade" in crew.logs()
    for process in (edited, stranger):
        crew.forget(process)

    scheduler, worker = crew.start("scheduler"), crew.start("worker")
    child_of(crew, worker.pid)
    with crew.engine.begin() as connection:
        (own,) = connection.scalars(sa.text("SELECT program FROM schema_objects"))
        connection.execute(sa.text("UPDATE schema_objects SET program = 'of another version'"))
    job = begin(crew, game)
    assert worker.wait(120) == 2
    assert scheduler.wait(120) == 2
    assert not crew.rows("SELECT FROM attempts")
    with crew.engine.begin() as connection:
        connection.execute(sa.text("UPDATE schema_objects SET program = :own"), {"own": own})
    for process in (scheduler, worker):
        crew.forget(process)
    crew.start("scheduler")
    crew.start("worker")
    crew.wait_until_done(240)
    check_clip(crew.engine, job, game.truth)


def test_without_any_broker_workers_take_what_is_announced(
    engine: sa.Engine, database_url: str, game: TinyGame, tmp_path: Path, programs: Programs
) -> None:
    nowhere = f"redis+socket://{tmp_path}/nowhere.sock?virtual_host=0"
    settings = {"lease_seconds": 5, "beat_seconds": 0.5, "task_points": 100}
    with Crew(engine, {"database_url": database_url, "broker_url": nowhere}, tmp_path, programs, **settings) as crew:
        job = begin(crew, game)
        crew.start("scheduler")
        worker = crew.start("worker")
        check_everything(crew, {job: game})
        worker.terminate()
        assert worker.wait(30) == 0
    assert "messages_missing" in crew.logs()
