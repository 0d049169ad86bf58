"""Decides how a witness is asked to be drawn: JSON in, pictures in a folder, one line of JSON out.

The scheduler has neither torch nor cv2; ``flowcert witness`` runs ``python -m worker.entry.draw_witness``.
"""

from __future__ import annotations

import contextlib
import json
import sys
from pathlib import Path
from typing import Any

import torch
from pydantic import BaseModel, ConfigDict, ValidationError

from common.errors import FlowcertError, InputError
from common.jobspec import JobSpec, first_problem
from common.settings import Settings
from common.wire import Moves, PointField
from worker.models import load_model
from worker.numerics import configure_numerics
from worker.permission import refusal
from worker.picture import describe, draw_strip, screens, stage, write_video
from worker.replay import Change, Source


class _Question(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    spec: JobSpec
    video: Path
    label: str
    digest: str
    point: PointField | None  #: of a grid witness
    moves: Moves | None  #: of a real witness, in pixels
    out: Path
    max_clip_bytes: int


def draw(text: str) -> dict[str, Any]:
    """Draw the witness of one question, given as JSON text; the answer is its document, with the files written.

    Raises FlowcertError where the clip, the model or the folder cannot be used, or the witness is none here.
    """
    try:
        question = _Question.model_validate_json(text)
    except ValidationError as error:
        raise first_problem(error) from error
    forbidden = refusal(question.spec.model, str(question.video), Settings())
    if forbidden is not None:
        raise InputError("VIDEO", forbidden)
    spec = question.spec
    source = Source(
        video=question.video, label=question.label, digest=question.digest, spec=spec,
        module=load_model(spec.model, torch.device("cpu")).module, max_bytes=question.max_clip_bytes,
    )  # fmt: skip
    scene = stage(Change.of_witness(question.point, question.moves, float(spec.tau)), source)
    film, strip = write_video(list(screens(scene)), question.out / "witness"), question.out / "witness.png"
    draw_strip(scene, strip)
    document = describe(scene)
    written = question.out / "witness.json"
    try:
        written.write_text(json.dumps(document, indent=2, allow_nan=False) + "\n", encoding="utf-8")
    except OSError as error:
        raise InputError("--out", f"{written}: cannot be written ({error.strerror})") from error
    return {"files": [str(film), str(strip), str(written)], "document": document}


def main() -> int:
    """Read the question from standard input, write the answer to standard output; 0 when the witness is drawn."""
    try:
        # A user's factory may print; the answer must stay the only line on standard output.
        with contextlib.redirect_stdout(sys.stderr):
            configure_numerics(threads=1)
            answer = {"ok": True, **draw(sys.stdin.read())}
    except InputError as error:
        answer = {"ok": False, "where": error.where, "problem": error.problem}
    except FlowcertError as error:
        answer = {"ok": False, "where": "VIDEO", "problem": str(error)}
    sys.stdout.write(json.dumps(answer) + "\n")
    return 0 if answer["ok"] else 1


if __name__ == "__main__":
    sys.exit(main())
