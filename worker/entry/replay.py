"""Executes stored witnesses again from the raw videos: JSON lines in, one JSON line out for each, in order.

The scheduler has no torch; ``flowcert replay`` runs ``python -m worker.entry.replay``.
"""

from __future__ import annotations

import contextlib
import json
import math
import sys
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from pydantic import BaseModel, ConfigDict

from common.errors import FlowcertError
from common.game import Point
from common.jobspec import JobSpec, ModelSpec
from common.settings import Settings
from common.wire import Moves, RealWitness, Witness
from worker.models import LoadedModel, load_model
from worker.numerics import configure_numerics
from worker.replay import Source, replay, replay_real


class Question(BaseModel):
    """One witness as the database has it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    video: str
    label: str
    digest: str
    point: Point | None
    cost: int | None
    moves: Moves | None
    distance: float
    predicted: str
    spec: JobSpec


def answer(question: Question, max_bytes: int) -> dict[str, Any]:
    """Replay one witness; ``problem`` is None when it is adversarial again, at its cost and as the same class."""
    try:
        source = Source(
            video=Path(question.video), label=question.label, digest=question.digest, spec=question.spec,
            module=_model(question.spec.model.model_dump_json()).module, max_bytes=max_bytes,
        )  # fmt: skip
        found: Witness | RealWitness
        if question.point is not None:
            found = replay(question.point, source)
        else:
            found = replay_real(question.moves or (), source)
    except FlowcertError as error:
        return {"problem": str(error), "margin": None, "predicted": None}
    problem = None
    if not found.replayed:
        problem = f"margin {found.margin:g} is not below zero"
    elif isinstance(found, Witness) and found.cost != question.cost:
        problem = f"costs {found.cost}, not {question.cost}"
    elif isinstance(found, RealWitness) and not math.isclose(found.distance, question.distance, rel_tol=1e-9):
        problem = f"is {found.distance} px away, not {question.distance}"
    elif found.predicted != question.predicted:
        problem = f"predicted as {found.predicted}, not {question.predicted}"
    return {"problem": problem, "margin": found.margin, "predicted": found.predicted}


@lru_cache(maxsize=2)
def _model(spec: str) -> LoadedModel:
    return load_model(ModelSpec.model_validate_json(spec), torch.device("cpu"))


def main() -> int:
    """Answer each line of standard input on standard output; always 0, for a failed replay is an answer."""
    configure_numerics(threads=1)
    settings = Settings()
    for line in sys.stdin:
        # A user's factory may print; the answers must stay the only lines on standard output.
        with contextlib.redirect_stdout(sys.stderr):
            found = answer(Question.model_validate_json(line), settings.max_clip_bytes)
        sys.stdout.write(json.dumps(found) + "\n")
        sys.stdout.flush()
    return 0


if __name__ == "__main__":
    sys.exit(main())
