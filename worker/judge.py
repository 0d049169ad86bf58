"""Decides of each grid point whether it is adversarial, safe, or too close to call."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from functools import cached_property

import numpy as np
import numpy.typing as npt

from common.game import Point
from worker.plain import Evaluator, Logits, PlainEvaluator, margins
from worker.tolerances import FLOAT32_BAND, FLOAT64_BAND


class Call(IntEnum):
    """What is known of one grid point."""

    SAFE = 0  #: margin above zero beyond any rounding
    ADVERSARIAL = 1  #: margin below zero beyond any rounding
    UNDECIDED = 2  #: margin within the float64 band: no claim


@dataclass(frozen=True)
class Judgement:
    """What became of ``B`` grid points."""

    calls: npt.NDArray[np.int8]  #: a :class:`Call` each, ``[B]``
    margins: npt.NDArray[np.float64]  #: margins as they were computed, in logits, ``[B]``
    rounding: npt.NDArray[np.float64]  #: how far from them the true margins may be, in logits, ``[B]``


class Judge:
    """Calls grid points by the fast evaluator, and those near margin 0 by the plain path in float64.

    Parameters
    ----------
    fast : evaluator of most points, in float32.
    plain : the plain evaluation whose float64 form decides what is near.
    label : index of the clip's class.

    """

    def __init__(self, fast: Evaluator, plain: PlainEvaluator, label: int) -> None:
        self.fast = fast
        self.plain = plain
        self.label = label

    @cached_property
    def exact(self) -> PlainEvaluator:
        """The plain evaluation in float64."""
        return self.plain.in_float64()

    def judge(self, points: Sequence[Point]) -> Judgement:
        """Call ``B`` points; raises NumericalError when a logit is NaN or infinite."""
        found = self._by_band(self.fast.logits(points), FLOAT32_BAND)
        near = np.flatnonzero(found.calls == Call.UNDECIDED)
        if near.size:
            exact = self._by_band(self.exact.logits([points[int(i)] for i in near]), FLOAT64_BAND)
            found.calls[near], found.margins[near], found.rounding[near] = exact.calls, exact.margins, exact.rounding
        return found

    def _by_band(self, logits: Logits, band: float) -> Judgement:
        margin = margins(logits, self.label)
        width = band * (1.0 + np.abs(logits).max(axis=1))
        calls = np.full(len(margin), Call.UNDECIDED, dtype=np.int8)
        calls[margin > width] = Call.SAFE
        calls[margin < -width] = Call.ADVERSARIAL
        return Judgement(calls, margin, width)
