"""Writes down a database as this version leaves it, and what it says of it: ``python -m tests.freeze_database``.

It holds the demo's job, finished, and one of a single clip whose scheduler and worker were killed while it was
explored: results wait to be merged, and tasks are leased to nobody. Afterwards that job is brought to its end, so that
a later version which goes on from the database can be held to what it must find.
"""

from __future__ import annotations

import gzip
import json
import os
import platform
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from alembic.script import ScriptDirectory

from migrations.schema import alembic_config
from scheduler.embedded import start_stack
from scheduler.embedded.binaries import find_binaries

ROOT = Path(__file__).parents[1]
FROZEN = Path(__file__).parent / "frozen"
#: The clip of the interrupted job, and the game that is played on it.
CLIP = FROZEN / "clip.avi"
LABEL = "MoveUp"
GAME = {"model": "cnn_lstm", "features": "global", "norm": "L2", "tau": "1", "radius": "72"}
#: Small tasks, so that there are several; a lease that is soon over.
PACE = {"FLOWCERT_TASK_POINTS": "2000", "FLOWCERT_BATCH_POINTS": "16", "FLOWCERT_LEASE_SECONDS": "5"}
_SECONDS = 300


def client(program: str, url: str, *arguments: str) -> list[str]:
    """A command line of one of PostgreSQL's clients, on a database of the embedded server."""
    parsed = sa.make_url(url)
    where = ["-h", str(parsed.query.get("host", parsed.host)), "-U", str(parsed.username), "-d", str(parsed.database)]
    return [str(find_binaries().initdb.with_name(program)), *where, *arguments]


def _flowcert(environment: Mapping[str, str], *arguments: object) -> str:
    command = [sys.executable, "-c", "from scheduler.cli.main import main; raise SystemExit(main())"]
    whole = [*command, *map(str, arguments)]
    return subprocess.run(whole, env=environment, stdout=subprocess.PIPE, text=True, check=True).stdout


def _start(environment: Mapping[str, str], module: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-m", module], env={**environment, **PACE}, start_new_session=True)


def _wait(what: str, until: Callable[[], object]) -> None:
    limit = time.monotonic() + _SECONDS
    while not until():
        if time.monotonic() > limit:
            raise TimeoutError(f"waited {_SECONDS} s for {what}")
        time.sleep(0.01)


def _signal(processes: list[subprocess.Popen[bytes]], number: signal.Signals) -> None:
    for process in processes:
        os.killpg(process.pid, number)


def _kill(processes: list[subprocess.Popen[bytes]]) -> None:
    _signal(processes, signal.SIGKILL)
    for process in processes:
        process.wait()


def _interrupt(environment: Mapping[str, str], ask: Callable[[str], Any], job: int) -> None:
    """Work on a job until it is half done; kill scheduler and worker where a result waits and a task is leased."""
    explored = f"FROM tasks t JOIN videos v ON v.id = t.video_id WHERE v.job_id = {job} AND t.kind = 'explore'"
    half = f"SELECT count(*) >= 5 {explored} AND t.state = 'merged'"
    torn = f"SELECT array_agg(DISTINCT t.state) @> ARRAY['leased', 'returned'] {explored}"
    crew = [_start(environment, module) for module in ("scheduler", "worker")]
    _wait("half of the job", lambda: ask(half))

    def found() -> bool:
        _signal(crew, signal.SIGSTOP)
        if ask(torn):
            return True
        _signal(crew, signal.SIGCONT)
        return False

    _wait("a result that waits beside a leased task", found)
    _kill(crew)
    if not ask(torn):
        raise RuntimeError("what was under way when they were killed came to an end after all; run this again")


def _nameless(dump: bytes) -> bytes:
    """A dump without this machine's name, which workers have in theirs."""
    host = re.escape(socket.gethostname().encode())
    dump = re.sub(rb"\b%b-(?=\d+-[0-9a-f]{8}\b)" % host, b"host-", dump)
    return re.sub(rb'"host": "%b"' % host, b'"host": "host"', dump)


def freeze(folder: Path) -> None:
    """Make the database in ``folder``, and write what it holds and says."""
    path = FROZEN / f"database-{ScriptDirectory.from_config(alembic_config()).get_current_head()}.sql.gz"
    if path.exists():
        raise SystemExit(f"{path}: is there; no table has changed since")
    weights = folder / "weights.safetensors"
    shutil.copy(ROOT / "worker" / "demo" / "weights.safetensors", weights)
    with start_stack(folder / "data") as stack:
        environment = {name: value for name, value in os.environ.items() if not name.startswith("FLOWCERT_")}
        environment["FLOWCERT_DATA_DIR"] = str(folder / "data")
        engine = sa.create_engine(stack.urls.database_url, isolation_level="AUTOCOMMIT")

        def ask(query: str) -> Any:
            with engine.connect() as connection:
                return connection.scalar(sa.text(query))

        def said(job: int) -> Any:
            return json.loads(_flowcert(environment, "results", job, "--json"))

        _flowcert(environment, "demo", "--clips", "4")
        clip = folder / "clips" / LABEL / CLIP.name
        clip.parent.mkdir(parents=True)
        if not CLIP.exists():
            rendered = next((folder / "data").rglob(f"v_{LABEL}_g01_c01.avi"))
            shutil.copy(rendered, CLIP)
        shutil.copy(CLIP, clip)
        options = [part for name, value in GAME.items() for part in (f"--{name}", value)]
        urls = {"FLOWCERT_DATABASE_URL": stack.urls.database_url, "FLOWCERT_BROKER_URL": stack.urls.broker_url}
        job = int(_flowcert(environment, "submit", clip, "--weights", weights, *options))
        _interrupt({**environment, **urls}, ask, job)
        dump = subprocess.run(
            client("pg_dump", stack.urls.database_url, "--no-owner"), stdout=subprocess.PIPE, check=True
        ).stdout
        story = {
            "machine": platform.machine(), "opencv": metadata.version("opencv-python-headless"), "folder": str(folder),
            "interrupted": job, "results": {number: said(number) for number in range(1, job + 1)},
        }  # fmt: skip
        crew = [_start({**environment, **urls}, module) for module in ("scheduler", "worker")]
        _wait("the job's end", lambda: ask(f"SELECT status FROM jobs WHERE id = {job}") == "done")
        _kill(crew)
        story["ended"] = said(job)
        engine.dispose()
    path.write_bytes(gzip.compress(_nameless(dump), mtime=0))
    path.with_name(path.name.replace(".sql.gz", ".json")).write_text(
        json.dumps(story, indent=1) + "\n", encoding="utf-8"
    )


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(prefix="flowcert-frozen-") as temporary:
        freeze(Path(temporary))
