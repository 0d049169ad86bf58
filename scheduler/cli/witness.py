"""The command ``flowcert witness``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from common.errors import InputError, ServerError
from common.settings import read_settings
from scheduler.cli.output import note, say
from scheduler.cli.servers import open_servers
from scheduler.intake.official import short_name
from scheduler.intake.paths import user_path
from scheduler.programs import answer
from scheduler.report.rows import Row, clip_rows, find_job, shown_witness_rows
from scheduler.report.tables import at_most

Job = Annotated[str, typer.Argument(metavar="JOB", help="Number of the job, or latest.")]
Video = Annotated[str, typer.Argument(metavar="VIDEO", help="Path of the clip, or <Class>/<clip> as results shows it.")]
Out = Annotated[Path, typer.Option("--out", metavar="DIR", help="Folder to write to; it is made if it is not there.")]


def witness(job: Job, video: Video, out: Out) -> None:
    """Draw a clip's cheapest adversarial manipulation: a video, a picture and a JSON document.

    Where none was found on the grid, it is the shortest real change that was found. The clip is built anew from the raw
    video, as a replay does; nothing is drawn of a file that has changed.
    """
    with open_servers(read_settings()) as servers:
        job_id = find_job(servers.engine, job)
        clip = find_clip(clip_rows(servers.engine, job_id), video, job_id)
        found = [row for row in shown_witness_rows(servers.engine, job_id) if row["video_id"] == clip["video_id"]]
        environment = servers.environment()
    if not found:
        raise InputError("VIDEO", f"{short_name(clip['video'])} has no witness; its verdict is {clip['verdict']}")
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError("--out", f"{out}: cannot be made ({error.strerror})") from error
    drawn = _draw(found[0], out.absolute(), environment)
    document = drawn["document"]
    told = document["strategy"] if document["kind"] == "grid" else _of_real(document)
    say(f"{document['before']['predicted']} becomes {document['after']['predicted']}: {told}")
    for file in drawn["files"]:
        note(f"written: {file}")


def _of_real(document: dict[str, Any]) -> str:
    """A real change in a line: it moves nearly every region, and its words would fill screens."""
    far = at_most(document["distance"])
    return f"a real change of {far} px, not on the grid; its {len(document['moves'])} moves are in witness.json"


def find_clip(rows: list[Row], name: str, job_id: int) -> Row:
    """The one clip of a job that a user names by its path or short name; raises InputError otherwise."""
    path = str(user_path(name, "VIDEO"))
    found = [row for row in rows if row["video"] in (name, path)]
    found = found or [row for row in rows if short_name(row["video"]) == name]
    if not found:
        raise InputError("VIDEO", f"job {job_id} has no clip {name!r}; flowcert results {job_id} lists them")
    if len(found) > 1:
        raise InputError("VIDEO", f"{len(found)} clips of job {job_id} are called {name!r}; give the whole path")
    return found[0]


def _draw(found: Row, out: Path, environment: Mapping[str, str]) -> dict[str, Any]:
    """Run the program that draws, for only workers have torch and cv2; raises InputError when it cannot."""
    question = {
        "spec": found["spec"], "video": found["video"], "label": found["label"], "digest": found["clip_digest"],
        "point": found["point"], "moves": found["moves"], "out": str(out),
    }  # fmt: skip
    try:
        return answer("worker.entry.draw_witness", question, environment)
    except ServerError as error:
        raise InputError("VIDEO", f"{found['video']}: drawing failed: {error}") from error
