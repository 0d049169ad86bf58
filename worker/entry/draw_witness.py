"""Decides how a witness is asked to be drawn: JSON in, pictures in a folder, one line of JSON out.

The scheduler has neither torch nor cv2; ``flowcert witness`` runs ``python -m worker.entry.draw_witness``.
"""

from __future__ import annotations

import json
import sys
from typing import Any

from pydantic import ValidationError

from common.errors import InputError
from common.jobspec import first_problem
from common.settings import Settings
from worker.entry.questions import PictureQuestion, answer_one
from worker.picture import describe, draw_strip, screens, stage, write_video


def draw(text: str) -> dict[str, Any]:
    """Draw the witness of one question, given as JSON text; the answer is its document, with the files written.

    Raises FlowcertError where the clip, the model or the folder cannot be used, or the witness is none here.
    """
    try:
        question = PictureQuestion.model_validate_json(text)
    except ValidationError as error:
        raise first_problem(error) from error
    settings = Settings()
    forbidden = question.forbidden(settings)
    if forbidden is not None:
        raise InputError("VIDEO", forbidden)
    scene = stage(question.change(), question.source(settings))
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
    return answer_one(draw, "VIDEO")


if __name__ == "__main__":
    sys.exit(main())
