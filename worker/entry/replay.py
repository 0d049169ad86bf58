"""Checks stored evidence again from the raw videos: JSON lines in, one JSON line out for each, in order.

The scheduler has no torch; ``flowcert replay`` runs ``python -m worker.entry.replay``.
"""

from __future__ import annotations

import contextlib
import json
import math
import sys
from typing import Annotated, Any, Literal, assert_never

from pydantic import Field, TypeAdapter

from common.errors import FlowcertError
from common.game import Point, Subtree
from common.settings import Settings
from common.wire import Moves, RealWitness, Witness
from worker.entry.questions import ClipQuestion
from worker.numerics import configure_numerics
from worker.recheck import Explored, Recheck, recheck_points, recheck_radius
from worker.replay import Source, replay, replay_real

Answer = dict[str, Any]


class WitnessQuestion(ClipQuestion):
    """A grid witness as the database has it."""

    kind: Literal["grid"]
    point: Point
    cost: int
    predicted: str


class RealWitnessQuestion(ClipQuestion):
    """A real witness as the database has it."""

    kind: Literal["real"]
    moves: Moves
    distance: float
    predicted: str


class CertificateQuestion(ClipQuestion):
    """A certified radius, in pixels of the norm."""

    kind: Literal["certificate"]
    radius: float


class ExplorationQuestion(ClipQuestion):
    """What an explore task says of a subtree; ``most`` of its points are evaluated."""

    kind: Literal["exploration"]
    prefix: Point
    first: int
    last: int
    floor: int
    reached: int
    position: Point | None
    limit: int
    most: int
    seed: int


Question = WitnessQuestion | RealWitnessQuestion | CertificateQuestion | ExplorationQuestion
_QUESTION: TypeAdapter[Question] = TypeAdapter(Annotated[Question, Field(discriminator="kind")])


def answer(question: Question, settings: Settings) -> Answer:
    """Check one piece of evidence; ``problem`` is None when it is what the database says."""
    forbidden = question.forbidden(settings)
    if forbidden is not None:
        return _answer(forbidden, None)
    try:
        return _checked(question, question.source(settings))
    except FlowcertError as error:
        return _answer(str(error), None)


def _checked(question: Question, source: Source) -> Answer:
    match question:
        case WitnessQuestion():
            found = replay(question.point, source)
            wrong = f"costs {found.cost}, not {question.cost}" if found.cost != question.cost else None
            return _answer(_problem(found, question.predicted) or wrong, found.margin)
        case RealWitnessQuestion():
            real = replay_real(question.moves, source)
            same = math.isclose(real.distance, question.distance, rel_tol=1e-9)
            wrong = None if same else f"is {real.distance} px away, not {question.distance}"
            return _answer(_problem(real, question.predicted) or wrong, real.margin)
        case CertificateQuestion():
            return _rechecked(recheck_radius(source, question.radius))
        case ExplorationQuestion():
            subtree = Subtree(question.prefix, question.first, question.last)
            claim = Explored(subtree, question.position, question.floor, question.reached, question.limit)
            return _rechecked(recheck_points(source, claim, most=question.most, seed=question.seed))
        case _:
            assert_never(question)


def _problem(found: Witness | RealWitness, predicted: str) -> str | None:
    """What is wrong with a replayed witness: it must be adversarial again, and as the same class."""
    if not found.replayed:
        return f"margin {found.margin:g} is not below zero"
    return None if found.predicted == predicted else f"predicted as {found.predicted}, not {predicted}"


def _rechecked(found: Recheck) -> Answer:
    return _answer(found.problem, found.margin, found.points)


def _answer(problem: str | None, margin: float | None, points: int | None = None) -> Answer:
    # A bound that overflowed is minus infinity, which JSON does not have.
    return {"problem": problem, "margin": margin if margin is None or math.isfinite(margin) else None, "points": points}


def main() -> int:
    """Answer each line of standard input on standard output; always 0, for a failed check is an answer."""
    configure_numerics(threads=1)
    settings = Settings()
    for line in sys.stdin:
        # A user's factory may print; the answers must stay the only lines on standard output.
        with contextlib.redirect_stdout(sys.stderr):
            found = answer(_QUESTION.validate_json(line), settings)
        sys.stdout.write(json.dumps(found) + "\n")
        sys.stdout.flush()
    return 0


if __name__ == "__main__":
    sys.exit(main())
