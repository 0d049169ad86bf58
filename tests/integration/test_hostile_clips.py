"""Hostile clips fail by themselves, each with its reason; good ones beside them get the bounds they get alone."""

import os
from decimal import Decimal
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest
import sqlalchemy as sa

from common.broker import checked_url
from common.printable import is_printable
from scheduler.intake.dataset import find_clips
from scheduler.intake.submit import submit
from tests.crew import Crew
from tests.fuzz.mutate import mutate
from tests.fuzz.videos import odd_video
from tests.integration.test_permission import WEIGHTS, demo_spec
from tests.programs import Programs
from tests.unit.clips.conftest import mjpeg_avi
from worker.demo.render import render_dataset

#: Clips whose ends are known beforehand, and those that are harmed anyhow.
REASONS = {
    "cut.avi": "is truncated",
    "empty.avi": "is empty (0 bytes)",
    "text.avi": "is not a video that FFmpeg can open",
    "playlist.avi": "is not a video that FFmpeg can open",
    "pipe.avi": "does not exist or is not an ordinary file",
    "loop.avi": "does not exist or is not an ordinary file",
    "sparse.avi": "is too large: it has 1099511627776 bytes",
    "short.avi": "has 1 frame, 8 are needed",
    "red\\x1b[31m.avi": "its name has unprintable characters; rename it",
    "\\u202eiva.avi": "its name has unprintable characters; rename it",
    "two\\nlines.avi": "its name has unprintable characters; rename it",
    "byte\\udcff.avi": "its name is not UTF-8; rename it",
}
HARMED = 12


def spoil(folder: Path, good: bytes) -> None:
    """Put hostile clips beside the good ones."""
    (folder / "cut.avi").write_bytes(good[: len(good) // 2])
    (folder / "empty.avi").touch()
    (folder / "text.avi").write_text("no video\n" * 1000)
    (folder / "playlist.avi").write_text("ffconcat version 1.0\nfile /etc/passwd\n")
    os.mkfifo(folder / "pipe.avi")
    (folder / "loop.avi").symlink_to(folder / "loop.avi")
    with (folder / "sparse.avi").open("wb") as file:
        file.truncate(2**40)
    (folder / "short.avi").write_bytes(mjpeg_avi([np.zeros((48, 64, 3), np.uint8)], 2**31))
    for name in ("red\x1b[31m.avi", "\u202eiva.avi", "two\nlines.avi", "byte\udcff.avi"):
        (folder / name).write_bytes(good)
    for number in range(HARMED):
        rng = Random(number)
        content = odd_video(rng)[1] if number % 2 else mutate(good, rng)
        (folder / f"harmed{number:02}.avi").write_bytes(content)


@pytest.mark.timeout(200)
def test_good_clips_beside_hostile_ones_get_the_same_bounds(
    engine: sa.Engine, database_url: str, broker_url: str, tmp_path: Path, programs: Programs
) -> None:
    roots = [tmp_path / "alone", tmp_path / "beside"]
    for root in roots:
        render_dataset(root, per_class=1, seed=0)
        (root / "w.safetensors").write_bytes(WEIGHTS.read_bytes())
    spoil(roots[1] / "MoveUp", next((roots[1] / "MoveUp").glob("v_*.avi")).read_bytes())
    jobs = []
    for root in roots:
        spec = demo_spec(root).model_copy(update={"gradients": 20, "radius": Decimal(96)})
        jobs.append(submit(engine, spec, find_clips(root), 200).job_id)
    with Crew(
        engine, {"database_url": database_url, "broker_url": checked_url(broker_url)}, tmp_path, programs
    ) as crew:
        crew.start("scheduler")
        worker = crew.start("worker")
        crew.wait_until_done(150)
        assert worker.poll() is None
        alone, beside = (ends_of(crew, job) for job in jobs)
    good = {name: end for name, end in beside.items() if name in alone}
    assert good == alone
    assert len(alone) == 4
    assert any(end["lower"] for end in alone.values())
    assert any(end["upper"] is not None for end in alone.values())
    assert len(beside) == len(alone) + len(REASONS) + HARMED
    for name, reason in REASONS.items():
        assert beside[name]["verdict"] == "failed"
        assert reason in beside[name]["reason"]
    for name, end in beside.items():
        if end["verdict"] == "failed":
            assert name in end["reason"]
            assert is_printable(end["reason"])


def ends_of(crew: Crew, job: int) -> dict[str, dict[str, Any]]:
    """What became of a job's clips, by the names of their files."""
    rows = crew.rows(
        "SELECT v.path, v.verdict, v.reason, v.margin, v.points_explored, b.lower, b.upper"
        " FROM videos v LEFT JOIN bounds b ON b.video_id = v.id WHERE v.job_id = :job",
        job=job,
    )
    return {row.path.rpartition("/")[2]: {**row._mapping, "path": None} for row in rows}
