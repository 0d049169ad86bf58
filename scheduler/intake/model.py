"""Decides how the model check is asked: a program of its own, for only workers have torch."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from common.errors import InputError
from common.jobspec import Seconds
from scheduler.intake.config import JobRequest


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
    done = subprocess.run(
        [sys.executable, "-P", "-m", "worker.entry.check_model"],
        input=json.dumps(question),
        capture_output=True,
        text=True,
        check=False,
    )
    try:
        answer = json.loads(done.stdout)
    except json.JSONDecodeError as error:
        said = [line.strip() for line in done.stderr.splitlines() if line.strip()]
        reason = said[-1] if said else f"status {done.returncode}"
        raise InputError(request.at("model"), f"{config.model}: the check of the model failed: {reason}") from error
    if not answer.pop("ok"):
        raise request.located(InputError(answer["where"], answer["problem"]))
    return ModelAnswer.model_validate(answer)
