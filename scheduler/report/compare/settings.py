"""Decides in what two jobs differ, and which differences make their distances incomparable.

Bounds of two jobs compare when they answer one question of a clip: how far, among the same changes of the same frames
and in the same norm, is the nearest one that alters the answer? The model, tau, the radius and how it was searched may
differ; the norm, the frames, their flow and the features may not.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from common.errors import InputError
from common.jobspec import JobSpec
from scheduler.report.rows import Row

#: Fields that must be equal, and why.
_SAME = {
    "norm": "distances in different norms do not compare",
    "sampling": "they look at different frames, so that their clips and the sizes of changes are not the same",
    "flow": "the same change of another flow makes other frames",
    "features": "they move different regions, so that their distances are to different sets of changes",
}
_BUDGETS = ("budget_points", "budget_clip_seconds", "budget_wall_seconds")

#: Characters of a field's value that are shown.
_LONG = 60


def require_comparable(a: Row, b: Row) -> None:
    """Raise InputError unless the bounds of two rows of ``jobs`` compare; it names the first field in the way."""
    fields = [JobSpec.model_validate(job["spec"]).model_dump(mode="json") for job in (a, b)]
    for name, why in _SAME.items():
        ours, theirs = (field[name] for field in fields)
        if ours != theirs:
            rows = _apart(name, ours, theirs)
            apart = ", ".join(f"{row['field']}: {shown(row['a'])} and {shown(row['b'])}" for row in rows)
            raise InputError("JOB_B", f"jobs {a['id']} and {b['id']} cannot be compared: {why} ({apart})")


def differences(a: Row, b: Row) -> list[Row]:
    """Fields of the specifications and budgets of two rows of ``jobs`` that differ: ``field``, ``a``, ``b``."""
    ours, theirs = (
        {**JobSpec.model_validate(job["spec"]).model_dump(mode="json"), **{name: job[name] for name in _BUDGETS}}
        for job in (a, b)
    )
    return list(_apart("", ours, theirs))


def remarks(a: Row, b: Row) -> list[str]:
    """What is to be borne in mind of a comparison that is allowed."""
    one, other = (JobSpec.model_validate(job["spec"]) for job in (a, b))
    said = []
    if one.features.startswith("saliency") and one.model.sha256 != other.model.sha256:
        said.append("saliency regions are each model's own: the two sets of changes differ from clip to clip")
    if (one.tau, one.cap) != (other.tau, other.cap):
        said.append("the two grids differ: FMSR is the distance on each job's own grid")
    if one.model.classes != other.model.classes:
        said.append("the two models choose among different classes")
    return said


def shown(value: Any) -> str:
    """A field's value, short enough for a line."""
    text = "none" if value is None else ", ".join(map(str, value)) if isinstance(value, list) else str(value)
    return text if len(text) <= _LONG else f"{text[: _LONG - 1]}…"


def _apart(name: str, ours: Any, theirs: Any) -> Iterator[Row]:
    if isinstance(ours, dict) and isinstance(theirs, dict):
        for key in dict.fromkeys((*ours, *theirs)):
            yield from _apart(f"{name}.{key}" if name else key, ours.get(key), theirs.get(key))
    elif ours != theirs:
        yield {"field": name, "a": ours, "b": theirs}
