"""Decides, before a job exists, whether a model and its weights can be certified: JSON in, one line of JSON out.

The scheduler has no torch; it runs ``python -m worker.entry.check_model`` when a job is submitted.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import torch
from pydantic import BaseModel, ConfigDict, ValidationError

from common.errors import InputError
from common.jobspec import ModelSpec, SamplingSpec, first_problem
from worker.certify import supports
from worker.entry.questions import answer_one
from worker.models import MODELS, WeightsInfo, check_forward, find_factory, inspect_weights, load_model


class _Question(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    weights: Path
    args: dict[str, Any]
    classes: tuple[str, ...] | None
    frames: int | None
    height: int | None
    width: int | None
    continuous: bool = False


def check(text: str) -> dict[str, Any]:
    """Answer one question, given as JSON text; raise FlowcertError where the model cannot be used."""
    try:
        question = _Question.model_validate_json(text)
        # Asked first: of a misspelt model, the weights could only say that they were saved for another.
        find_factory(question.name)
        info = inspect_weights(**question.model_dump(exclude={"continuous"}))
        sampling = _sampling(question, info)
        spec = ModelSpec(
            name=question.name,
            weights=str(question.weights),
            args=info.args,
            classes=info.classes,
            sha256=info.sha256,
        )
    except ValidationError as error:
        raise first_problem(error) from error
    model = load_model(spec, torch.device("cpu"))
    check_forward(model, sampling)
    if question.name not in MODELS:
        # Witnesses are replayed in it: better said now than by every clip's failure.
        check_forward(model, sampling, torch.float64)
    refused = supports(model.module) if question.continuous else None
    if refused is not None:
        raise InputError("continuous", refused)
    found = {"sha256": info.sha256, "classes": spec.classes, "args": info.args}
    return found | sampling.model_dump(mode="json", exclude={"stride"})


def main() -> int:
    """Read the question from standard input, write the answer to standard output; 0 when the model is usable."""
    return answer_one(check, "model")


def _sampling(question: _Question, info: WeightsInfo) -> SamplingSpec:
    """Give the clip shape; raise InputError that names the options to pass for what neither user nor file says."""
    options = {"--classes": info.classes, "--frames": info.frames, "--size": info.height and info.width}
    unsaid = [option for option, value in options.items() if value is None]
    if unsaid:
        problem = f"{question.weights} does not say {'it' if len(unsaid) == 1 else 'them'}; pass {', '.join(unsaid)}"
        raise InputError(", ".join(unsaid), problem)
    return SamplingSpec(frames=info.frames, every=info.every, height=info.height, width=info.width)


if __name__ == "__main__":
    sys.exit(main())
