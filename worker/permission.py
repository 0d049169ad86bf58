"""Decides whether this worker may do what a claim asks for: import the model's factory, and read the files it names.

A claim comes from the database, and what is in it from whoever may submit jobs. The machine's owner says in the
worker's own settings which code and which folders that may reach.
"""

from __future__ import annotations

from pathlib import Path

from common.confine import outside
from common.jobspec import ModelSpec
from common.settings import Settings
from worker.models import MODELS


def refusal(model: ModelSpec, video: str, settings: Settings) -> str | None:
    """Say why a task is not to be done here; None where it may."""
    if model.name not in MODELS and not settings.allows_factory(model.name):
        return f"model: {model.name} may not be imported here; FLOWCERT_MODEL_FACTORIES lists what may"
    for path in (model.weights, video):
        problem = outside(Path(path), settings.data_roots)
        if problem is not None:
            return f"{path}: {problem}"
    return None
