"""Decides how the model check is asked: a program of its own, for only workers have torch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from common.errors import InputError, ServerError
from common.jobspec import Seconds
from scheduler.intake.config import JobRequest
from scheduler.programs import answer


class ModelAnswer(BaseModel):
    """What the check found: everything the job needs that the user may leave out."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    sha256: str
    classes: tuple[str, ...]
    args: dict[str, Any]
    frames: int
    height: int
    width: int
    every: Seconds | None = None  #: pause between the frames that the weights were trained on


def check_model(request: JobRequest, weights: Path) -> ModelAnswer:
    """Load the model once and learn what its weights say of classes, frames and size.

    Raises InputError, one line at the option or key that is wrong, when the model cannot be used.
    """
    config = request.config
    height, width = config.height_width or (None, None)
    question = {
        "name": config.model, "weights": str(weights), "args": config.model_args, "classes": config.classes,
        "frames": config.frames, "height": height, "width": width, "continuous": config.continuous,
    }  # fmt: skip
    try:
        return ModelAnswer.model_validate(answer("worker.entry.check_model", question))
    except InputError as error:
        raise request.located(error) from error
    except ServerError as error:
        # What ended it is the user's own code, or its libraries.
        raise InputError(request.at("model"), f"{config.model}: the check of the model failed: {error}") from error
