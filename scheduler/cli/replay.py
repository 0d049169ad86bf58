"""The command ``flowcert replay``."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from typing import Any

import typer

from common.errors import ServerError
from common.settings import Settings
from scheduler.cli.options import AsJson, Job
from scheduler.cli.output import listing, note
from scheduler.cli.servers import open_servers
from scheduler.report.rows import LATEST, Row, all_witness_rows, find_job
from scheduler.report.tables import replay_table

#: Exit status when a witness that had been confirmed is not confirmed again.
_CONTRADICTED = 1


def replay(job: Job = LATEST, as_json: AsJson = False) -> None:
    """Execute every witness of a job again from its raw video; exit 1 when one is not what the database says."""
    with open_servers(Settings()) as servers:
        rows = all_witness_rows(servers.engine, find_job(servers.engine, job))
    claimed = [row for row in rows if row["replayed"]]
    checked: list[Row] = []
    for number, (row, answer) in enumerate(zip(claimed, _answers(claimed), strict=True), 1):
        checked.append({**_shown(row), "margin_again": answer["margin"], "problem": answer["problem"]})
        note(f"{number} of {len(claimed)} witnesses replayed")
    listing(checked, replay_table(checked), as_json=as_json)
    refused, failed = len(rows) - len(claimed), sum(row["problem"] is not None for row in checked)
    note(f"{len(checked) - failed} of {len(checked)} witnesses confirmed; {refused} never were and bound nothing")
    if failed:
        raise typer.Exit(_CONTRADICTED)


def _shown(row: Row) -> Row:
    return {key: row[key] for key in ("video", "label", "kind", "witness_id", "distance", "predicted", "margin")}


def _answers(rows: Sequence[Row]) -> Iterator[dict[str, Any]]:
    """Answers of ``worker.entry.replay``, a program of its own, for only workers have torch; one a row, in order."""
    if not rows:
        return
    with tempfile.TemporaryFile("w+") as questions, tempfile.TemporaryFile("w+") as said:
        questions.writelines(_question(row) + "\n" for row in rows)
        questions.seek(0)
        command = [sys.executable, "-m", "worker.entry.replay"]
        with subprocess.Popen(command, stdin=questions, stdout=subprocess.PIPE, stderr=said, text=True) as process:
            for line in process.stdout or ():
                yield json.loads(line)
        if process.returncode:
            said.seek(0)
            lines = [line.strip() for line in said if line.strip()] or [f"status {process.returncode}"]
            raise ServerError(f"the replay ended early: {lines[-1]}")


def _question(row: Row) -> str:
    names = {"digest": "clip_digest"}
    keys = ("video", "label", "digest", "point", "cost", "moves", "distance", "predicted", "spec")
    return json.dumps({key: row[names.get(key, key)] for key in keys})
