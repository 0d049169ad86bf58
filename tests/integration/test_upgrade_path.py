"""Databases of earlier versions are upgraded, read as they were, and worked on further to the end that was known."""

from __future__ import annotations

import gzip
import json
import platform
import shutil
import subprocess
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from common.jobspec import JobSpec
from common.store.engine import open_engine
from common.vocab import TaskKind
from common.wire import RESULT_TYPES
from migrations.schema import object_files, require_head, upgrade
from tests.crew import Crew
from tests.freeze_database import CLIP, FROZEN, LABEL, ROOT, client
from tests.programs import Programs

REVISIONS = sorted(path.name.removesuffix(".sql.gz").partition("-")[2] for path in FROZEN.glob("database-*.sql.gz"))


@dataclass(frozen=True)
class Old:
    """A database of an earlier version, upgraded, and what that version said of it."""

    engine: sa.Engine
    url: str
    story: dict[str, Any]
    #: How its rows were before: of bounds and witnesses, which no upgrade may touch.
    rows: dict[str, list[dict[str, Any]]]

    @property
    def interrupted(self) -> int:
        """The job whose scheduler and worker were killed."""
        return self.story["interrupted"]


#: What no version may find otherwise of the same clip and game.
FACTS = ("verdict", "fmsr_lower", "fmsr_upper", "points_total", "predicted")
#: Tables in which an upgrade changes nothing.
KEPT = ("bounds", "bound_events", "witnesses", "results")


def kept(engine: sa.Engine) -> dict[str, list[dict[str, Any]]]:
    with engine.connect() as connection:
        return {
            table: [dict(row) for row in connection.execute(sa.text(f"SELECT * FROM {table} ORDER BY 1")).mappings()]
            for table in KEPT
        }


@pytest.fixture(params=REVISIONS)
def old(request: pytest.FixtureRequest, engine: sa.Engine, tmp_path: Path) -> Iterator[Old]:
    """Each frozen database in one of its own, upgraded; the files of its interrupted job lie in ``tmp_path``."""
    dump = FROZEN / f"database-{request.param}.sql.gz"
    told = dump.with_name(f"database-{request.param}.json").read_text(encoding="utf-8")
    folder = json.loads(told)["folder"]
    story = json.loads(told.replace(f"{folder}/clips/", f"{tmp_path}/clips/"))
    name = f"old_{uuid.uuid4().hex[:12]}"
    administrator = engine.execution_options(isolation_level="AUTOCOMMIT")
    with administrator.connect() as connection:
        connection.execute(sa.text(f'CREATE DATABASE "{name}" TEMPLATE template0'))
    url = engine.url.set(database=name).render_as_string(hide_password=False)
    psql = client("psql", url, "-q", "-o", "/dev/null", "-v", "ON_ERROR_STOP=1")
    subprocess.run(psql, input=gzip.decompress(dump.read_bytes()), check=True)
    opened = open_engine(url)
    rows = kept(opened)
    move_in(opened, story, tmp_path)
    upgrade(opened)
    yield Old(opened, url, story, rows)
    opened.dispose()
    with administrator.connect() as connection:
        connection.execute(sa.text(f'DROP DATABASE "{name}" WITH (FORCE)'))


def move_in(engine: sa.Engine, story: dict[str, Any], folder: Path) -> None:
    """Put the interrupted job's clip and weights into a folder, and have the database say so."""
    clip = folder / "clips" / LABEL / CLIP.name
    clip.parent.mkdir(parents=True)
    shutil.copy(CLIP, clip)
    shutil.copy(ROOT / "worker" / "demo" / "weights.safetensors", folder)
    moved = {"before": story["folder"], "now": str(folder), "job": story["interrupted"]}
    with engine.begin() as connection:
        connection.execute(
            sa.text("UPDATE jobs SET spec = replace(spec::text, :before, :now)::jsonb WHERE id = :job"), moved
        )
        connection.execute(sa.text("UPDATE videos SET path = replace(path, :before, :now) WHERE job_id = :job"), moved)


def columns_of(before: list[dict[str, Any]], now: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Rows of now, in the columns that there were before."""
    return [{name: row[name] for name in known} for known, row in zip(before, now, strict=True)]


def results(old: Old, flowcert: Callable[..., Any], job: object) -> list[dict[str, Any]]:
    status, printed, notes = flowcert("results", job, "--format", "json")
    assert status == 0, notes
    return json.loads(printed)


@pytest.fixture
def ask(old: Old, broker_url: str, in_process: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> Any:
    """The command line on the upgraded database."""
    monkeypatch.setenv("FLOWCERT_DATABASE_URL", old.url)
    monkeypatch.setenv("FLOWCERT_BROKER_URL", broker_url)
    return in_process


def test_there_is_a_database_of_the_first_revision() -> None:
    assert REVISIONS[:1] == ["0001"]


def test_bounds_and_witnesses_are_kept_and_results_read_as_before(old: Old, ask: Callable[..., Any]) -> None:
    require_head(old.engine)
    now = kept(old.engine)
    for table, before in old.rows.items():
        assert before
        assert columns_of(before, now[table]) == before
    present = {path.stem for path in object_files() if path.parent.name == "views"}
    assert set(sa.inspect(old.engine).get_view_names()) == present
    for job, before in old.story["results"].items():
        assert columns_of(before, results(old, ask, job)) == before


def test_specifications_and_results_are_still_read(old: Old) -> None:
    with old.engine.connect() as connection:
        specs = connection.execute(sa.text("SELECT id, spec, digest FROM jobs")).all()
        found = connection.execute(sa.text("SELECT t.kind, r.payload FROM results r JOIN tasks t ON t.id = r.task_id"))
        kinds = {kind for kind, payload in found if RESULT_TYPES[TaskKind(kind)].model_validate(payload)}
    assert {"prepare", "attack", "explore"} <= kinds
    for job, spec, digest in specs:
        # Only the interrupted job was moved, so its name is no longer that of its specification.
        assert (JobSpec.model_validate(spec).digest() == digest) == (job != old.interrupted)


def test_an_interrupted_job_goes_on_and_is_run_again(
    old: Old, ask: Callable[..., Any], broker_url: str, tmp_path: Path, programs: Programs
) -> None:
    (end,) = old.story["ended"]
    (before,) = old.story["results"][str(old.interrupted)]
    assert (before["status"], end["verdict"]) == ("exploring", "solved")
    made_on = {"machine": platform.machine(), "opencv": metadata.version("opencv-python-headless")}
    if not made_on.items() <= old.story.items():
        pytest.skip(f"optical flow may be another here, on {made_on}, than where the clip was prepared")
    urls = {"database_url": old.url, "broker_url": broker_url}
    with Crew(old.engine, urls, tmp_path, programs, tick_seconds=0.1) as crew:
        for module in ("scheduler", "worker"):
            crew.start(module)
        crew.wait_until_done()
        (gone_on,) = results(old, ask, old.interrupted)
        assert {name: gone_on[name] for name in FACTS} == {name: end[name] for name in FACTS}
        assert gone_on["points_explored"] >= end["points_needed"]
        assert ask("rerun", old.interrupted, "--all")[0] == 0
        crew.wait_until_done()
        (again,) = results(old, ask, "latest")
        assert {name: again[name] for name in FACTS} == {name: end[name] for name in FACTS}
        assert crew.rows("SELECT generation FROM jobs ORDER BY id DESC")[0].generation == 2
