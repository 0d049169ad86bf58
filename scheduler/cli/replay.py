"""The command ``flowcert replay``."""

from __future__ import annotations

from typing import Annotated

import typer

from common.settings import read_settings
from scheduler.cli.options import AsJson, Job
from scheduler.cli.output import listing, note
from scheduler.cli.servers import open_servers
from scheduler.programs import answers
from scheduler.report.rows import LATEST, Row, certificate_rows, exploration_rows, find_job, replayed_witness_rows
from scheduler.report.tables import replay_table

#: Exit status when the database says what is not so.
_CONTRADICTED = 1

Subtrees = Annotated[
    int, typer.Option("--subtrees", metavar="N", min=0, help="Explored subtrees that are checked, drawn at random.")
]
Points = Annotated[int, typer.Option("--points", metavar="N", min=1, help="Points evaluated of each, at most.")]
Seed = Annotated[int, typer.Option("--seed", metavar="N", help="Seed of what is drawn at random.")]


def replay(
    job: Job = LATEST, subtrees: Subtrees = 10, points: Points = 20, seed: Seed = 0, as_json: AsJson = False
) -> None:
    """Check a job's evidence again, from its raw videos; exit 1 when some is not what the database says.

    Every witness is executed, every certified radius is certified, and of some explored subtrees, drawn at random, some
    points are evaluated in float64.
    """
    with open_servers(read_settings()) as servers:
        job_id, environment = find_job(servers.engine, job), servers.environment()
        witnesses, refused = replayed_witness_rows(servers.engine, job_id)
        rows = [
            *map(_of_witness, witnesses),
            *map(_of_certificate, certificate_rows(servers.engine, job_id)),
            *(_of_exploration(row, points, seed) for row in exploration_rows(servers.engine, job_id, subtrees, seed)),
        ]
    checked: list[Row] = []
    said = answers("worker.entry.replay", [ask for _, ask in rows], environment)
    for number, ((shown, _), answer) in enumerate(zip(rows, said, strict=True), 1):
        again = {"margin_again": answer["margin"], "points": answer["points"], "problem": answer["problem"]}
        checked.append({**shown, **again})
        note(f"{number} of {len(rows)} checked")
    listing(checked, replay_table(checked), as_json=as_json)
    failed = sum(row["problem"] is not None for row in checked)
    note(f"{len(checked) - failed} of {len(checked)} confirmed; {refused} witnesses never were and bound nothing")
    if failed:
        raise typer.Exit(_CONTRADICTED)


Pair = tuple[Row, Row]


def _of_witness(row: Row) -> Pair:
    """What is shown of a witness, and what is asked about it."""
    keys = {"grid": ("point", "cost"), "real": ("moves", "distance")}[row["kind"]]
    ask = {key: row[key] for key in (*keys, "predicted")}
    return _pair(row, row["kind"], row["witness_id"], row["distance"], row["margin"], ask)


def _of_certificate(row: Row) -> Pair:
    ask = {"radius": row["radius"]}
    return _pair(row, "certificate", row["certificate_id"], row["radius"], row["margin_bound"], ask)


def _of_exploration(row: Row, points: int, seed: int) -> Pair:
    ask = {key: row[key] for key in ("prefix", "first", "last", "floor", "reached", "position")}
    ask |= {"limit": row["radius_cost"], "most": points, "seed": seed}
    return _pair(row, "exploration", row["task"], row["distance"], None, ask)


def _pair(row: Row, kind: str, number: int, pixels: float, margin: float | None, ask: Row) -> Pair:
    shown = {
        "video": row["video"], "label": row["label"], "kind": kind, "id": number, "distance": pixels,
        "predicted": row["predicted"], "margin": margin,
    }  # fmt: skip
    about = {"kind": kind, "video": row["video"], "label": row["label"], "digest": row["clip_digest"]}
    return shown, {**about, "spec": row["spec"], **ask}
