"""The command ``flowcert report``."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated, Any

import typer

from common.settings import read_settings
from scheduler.cli.output import note
from scheduler.cli.servers import open_servers
from scheduler.cli.steps import shown_steps
from scheduler.programs import answers
from scheduler.report.pages.folder import is_file, report_folder
from scheduler.report.rows import (
    Row,
    clip_rows,
    find_job,
    guarantee_rows,
    job_row,
    shown_witness_rows,
    trace_rows,
)
from scheduler.report.summary import read_summary

Job = Annotated[str, typer.Argument(metavar="JOB", help="Number of the job, or latest.")]
Out = Annotated[
    Path, typer.Option("--out", metavar="DIR", help="Folder to write to: new, empty, or an earlier report.")
]


def report(job: Job, out: Out) -> None:
    """Write a job's report: pages for a browser that need neither a server nor a network; start with index.html.

    It has the summary, the shares certified under each guarantee, the classes, and a page for each clip with its
    bounds, its features and its witness. A clip whose video is gone, or has changed, has a page without pictures.
    """
    # Loaded late: templates take longer to load than most commands to run.
    from scheduler.report.pages.clip import clip_page
    from scheduler.report.pages.curves import share_chart
    from scheduler.report.pages.provenance import read_provenance
    from scheduler.report.pages.render import write_report

    with ExitStack() as opened:
        servers = opened.enter_context(open_servers(read_settings()))
        engine = servers.engine
        job_id = find_job(engine, job)
        folder = opened.enter_context(report_folder(out))
        rows, spec, summary = clip_rows(engine, job_id), job_row(engine, job_id)["spec"], read_summary(engine, job_id)
        routes, traces = (_by_clip(read(engine, job_id)) for read in (guarantee_rows, trace_rows))
        witnesses = {row["video_id"]: row for row in shown_witness_rows(engine, job_id)}
        pictures = _draw(rows, witnesses, spec, folder, servers.environment())
        pages = [
            clip_page(row, routes[row["video_id"]], traces[row["video_id"]], witnesses.get(row["video_id"]), picture)
            for row, picture in zip(rows, pictures, strict=True)
        ]
        chart, provenance = share_chart(summary, rows), read_provenance(engine, job_id, rows)
        write_report(folder, summary, pages, chart, provenance, spec["model"])
    for line in provenance.missing:
        note(line)
    without = sum(page.picture["problem"] is not None for page in pages)
    if without:
        note(f"{without} of {len(pages)} clips have no pictures; their pages say why")
    note(f"written: {out / 'index.html'}")


def _by_clip(rows: Sequence[Row]) -> dict[int, list[Row]]:
    by_clip: dict[int, list[Row]] = defaultdict(list)
    for row in rows:
        by_clip[row["video_id"]].append(row)
    return by_clip


def _draw(
    rows: Sequence[Row], witnesses: dict[int, Row], spec: Row, folder: Path, environment: Mapping[str, str]
) -> list[dict[str, Any]]:
    """What was drawn of each clip, below ``folder``; ``problem`` says what was not."""
    drawn: dict[int, dict[str, Any]] = {row["video_id"]: {"problem": "it was never prepared"} for row in rows}
    prepared = []
    for row in rows:
        if row["clip_digest"] is not None and not is_file(row["video"]):
            drawn[row["video_id"]] = {"problem": f"{row['video']} is gone"}
        elif row["clip_digest"] is not None:
            prepared.append(row)
    questions = [_question(row, witnesses.get(row["video_id"]), spec, folder.absolute()) for row in prepared]
    with shown_steps() as shown:
        said = answers("worker.entry.draw_report", questions, environment)
        for number, (row, answer) in enumerate(zip(prepared, said, strict=True), 1):
            drawn[row["video_id"]] = answer
            shown.step("clips drawn", number, len(prepared))
    return [drawn[row["video_id"]] for row in rows]


def _question(row: Row, witness: Row | None, spec: Row, folder: Path) -> Row:
    out = folder / "clips" / str(row["video_id"])
    out.mkdir(parents=True)
    return {
        "spec": spec, "video": row["video"], "label": row["label"], "digest": row["clip_digest"],
        "point": witness and witness["point"], "moves": witness and witness["moves"], "out": str(out),
        "before": {"predicted": row["predicted"], "margin": row["margin"]},
        "after": witness and {"predicted": witness["predicted"], "margin": witness["margin"]},
    }  # fmt: skip
