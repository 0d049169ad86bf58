"""The job array's script: read by bash, refused without a private settings file, and run as Slurm would run it.

There is no Slurm here, so its variables are set by hand and its signal is sent by the test; the worker is a real one.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import sqlalchemy as sa

from common.settings import Settings
from scheduler.processes import STOP_SECONDS
from scheduler.report.rows import worker_rows
from tests.commands import parse
from tests.crew import ROOT, Crew
from tests.programs import Programs

pytestmark = pytest.mark.acceptance
FOLDER = ROOT / "deploy" / "slurm"
SCRIPT = FOLDER / "workers.sbatch"
TEXT = SCRIPT.read_text(encoding="utf-8")


def environment(settings: Path) -> dict[str, str]:
    """What Slurm sets for the third task of an array, and the command of this checkout."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("FLOWCERT_")}
    slurm = {"SLURM_ARRAY_JOB_ID": "71", "SLURM_ARRAY_TASK_ID": "3", "SLURM_JOB_ID": "74", "SLURM_CPUS_PER_TASK": "1"}
    command = str(Path(sys.executable).with_name("flowcert"))
    return {**clean, **slurm, "FLOWCERT_ENV_FILE": str(settings), "FLOWCERT": command, "PYTHONPATH": str(ROOT)}


def test_bash_reads_it_and_its_directives_fit_together() -> None:
    subprocess.run(["bash", "-n", SCRIPT], check=True)
    directives = dict(re.findall(r"^#SBATCH --([\w-]+)=?(.*)$", TEXT, re.MULTILINE))
    assert re.fullmatch(r"1-\d+%\d+", directives["array"])
    assert (directives["gpus"], directives["requeue"]) == ("1", "")
    target, name, before = re.fullmatch(r"(B):(\w+)@(\d+)", directives["signal"]).groups()
    assert (target, name) == ("B", "TERM")
    assert int(before) > STOP_SECONDS + 10
    # Slurm stops reading directives at the first command.
    assert TEXT.rindex("#SBATCH") < TEXT.index("\nset -")
    assert parse(["flowcert", *re.search(r'^exec "\$\{FLOWCERT:-flowcert\}" (.+)$', TEXT, re.MULTILINE)[1].split()])


def test_the_settings_file_names_settings_and_has_no_values_that_are_secret() -> None:
    lines = [line.partition("=") for line in (FOLDER / "worker.env.example").read_text().splitlines()]
    given = {name: value for name, _, value in lines if name and not name.startswith("#")}
    assert given.keys() <= {f"FLOWCERT_{field.upper()}" for field in Settings.model_fields}
    assert not given["FLOWCERT_DATABASE_URL"] + given["FLOWCERT_BROKER_URL"]


@pytest.mark.parametrize(("mode", "problem"), [(0o644, "readable by others; say: chmod 600"), (None, "missing; copy")])
def test_passwords_that_others_could_read_are_refused(tmp_path: Path, mode: int | None, problem: str) -> None:
    settings = tmp_path / "worker.env"
    if mode is not None:
        settings.touch(mode)
        settings.chmod(mode)
    done = subprocess.run(
        ["bash", SCRIPT], env=environment(settings), capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 2
    assert f"{settings}: {problem}" in done.stderr


def test_a_task_of_the_array_is_a_worker_until_slurm_ends_it(
    engine: sa.Engine, database_url: str, broker_url: str, tmp_path: Path, programs: Programs
) -> None:
    settings, log = tmp_path / "worker.env", tmp_path / "task.log"
    settings.touch(0o600)
    settings.write_text(
        f"FLOWCERT_DATABASE_URL='{database_url}'\nFLOWCERT_BROKER_URL='{broker_url}'\nFLOWCERT_DATA_DIR={tmp_path}\n"
    )
    with Crew(engine, {}, tmp_path, programs) as crew, log.open("wb") as output:
        task = subprocess.Popen(["bash", SCRIPT], env=environment(settings), stdout=output, stderr=output)
        try:
            crew.wait("the worker to join", lambda: worker_rows(engine), 60)
            (row,) = worker_rows(engine)
            assert Path(f"/proc/{row['pid']}").exists()
            # No password where any user of the node could read it.
            assert database_url not in Path(f"/proc/{task.pid}/cmdline").read_text()
            # To the batch shell alone, whose place the worker has taken.
            os.kill(task.pid, signal.SIGTERM)
            assert task.wait(30) == 0, log.read_text()
            crew.wait("the child to end", lambda: not Path(f"/proc/{row['pid']}").exists(), 10)
        finally:
            task.kill()
            task.wait()
