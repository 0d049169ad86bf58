"""Decides whether a model that can be taken apart computes the same in parts as in one piece: no plug-in is trusted."""

from __future__ import annotations

import numpy as np

from common.errors import InputError
from common.game import ROOT, Point
from worker.plain import Evaluator, PlainEvaluator
from worker.tolerances import FLOAT32_BAND

#: Random points compared; together they change every flow with near certainty.
POINTS = 4


def require_agreement(fast: Evaluator, plain: PlainEvaluator) -> None:
    """Compare both evaluations on the unchanged clip and a few random points that change many flows.

    Raises InputError when logits differ by more than the band in which margins are decided in float64.
    """
    rng = np.random.default_rng(0)
    coordinates = len(plain.clip.coordinate_sizes)
    points: list[Point] = [ROOT]
    for _ in range(POINTS):
        chosen = np.flatnonzero(rng.random(coordinates) < min(0.5, 32 / coordinates))
        points.append(tuple((int(j), int(rng.choice([-1, 1]))) for j in chosen))
    wanted = plain.logits(points)
    apart = float(np.abs(fast.logits(points) - wanted).max())
    if apart > FLOAT32_BAND * (1.0 + float(np.abs(wanted).max())):
        raise InputError("model", f"its encode and recurrence do not give what its forward gives (apart by {apart:g})")
