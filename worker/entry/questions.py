"""Decides what a program may be asked about a clip, and how one that is asked a single question answers or refuses."""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from pydantic import BaseModel, ConfigDict
from torch import nn

from common.errors import FlowcertError, InputError
from common.jobspec import JobSpec, ModelSpec
from common.settings import Settings
from common.wire import Moves, PointField
from worker.models import load_model
from worker.numerics import configure_numerics
from worker.permission import refusal
from worker.replay import Change, Source


class ClipQuestion(BaseModel):
    """What is asked about one clip of a job, as it was certified."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    spec: JobSpec
    video: Path
    label: str
    digest: str  #: of the prepared clip

    def forbidden(self, settings: Settings) -> str | None:
        """Say why this machine's settings do not let it be answered here; None where they do."""
        return refusal(self.spec.model, str(self.video), settings)

    def module(self) -> nn.Module:
        """The job's model, on the CPU; raises FlowcertError where it is not to be had."""
        return _module(self.spec.model.model_dump_json())

    def source(self, settings: Settings) -> Source:
        """What a replay of the clip's witnesses starts from; raises FlowcertError where the model is not to be had."""
        return Source(
            video=self.video, label=self.label, digest=self.digest, spec=self.spec, module=self.module(),
            max_bytes=settings.max_clip_bytes,
        )  # fmt: skip


class PictureQuestion(ClipQuestion):
    """A clip that is to be drawn into a folder, with its witness where it has one."""

    point: PointField | None  #: of a grid witness
    moves: Moves | None  #: of a real witness, in pixels
    out: Path

    def change(self) -> Change:
        """What the witness does to the clip."""
        return Change.of_witness(self.point, self.moves, float(self.spec.tau))


def answer_one(work: Callable[[str], dict[str, Any]], where: str) -> int:
    """Read a question from standard input, write what ``work`` answers to standard output; 0, or 1 for a refusal.

    ``where`` names what is wrong where an error does not.
    """
    try:
        # A user's factory may print; the answer must stay the only line on standard output.
        with contextlib.redirect_stdout(sys.stderr):
            configure_numerics(threads=1)
            answer = {"ok": True, **work(sys.stdin.read())}
    except InputError as error:
        answer = {"ok": False, "where": error.where, "problem": error.problem}
    except FlowcertError as error:
        answer = {"ok": False, "where": where, "problem": str(error)}
    sys.stdout.write(json.dumps(answer) + "\n")
    return 0 if answer["ok"] else 1


@lru_cache(maxsize=2)
def _module(spec: str) -> nn.Module:
    return load_model(ModelSpec.model_validate_json(spec), torch.device("cpu")).module
