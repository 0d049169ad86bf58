"""Decides what a job says as a whole: its counts, medians and certified shares, and its expected safe radii."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from sqlalchemy import Engine

from common.groups import Group, group_of
from common.vocab import Guarantee, Verdict
from scheduler.report.rows import Row, class_rows, clip_rows, job_progress, share_rows

#: How often the groups are drawn anew, and the seed of the draws: the same job always gets the same intervals.
RESAMPLES = 10_000
SEED = 20_200
CONFIDENCE = 0.95
#: Verdicts that an evaluated clip may have.
VERDICTS = (Verdict.SOLVED, Verdict.ROBUST, Verdict.OPEN, Verdict.MISCLASSIFIED)
#: Columns of ``job_progress`` by which programs are told what job it is.
JOB = ("job_id", "status", "dataset", "model", "features", "norm", "tau", "radius")
#: Medians of lower bounds: their measure, and how the label of their guarantee begins.
_LOWER_MEDIANS = {
    "fmsr_lower_median": ("FMSR", ""),
    "certified_radius_median": ("MSR", Guarantee.CONTINUOUS.value),
    "constant_lower_median": ("MSR", "lipschitz:"),
}
#: Resamples in memory at once; 10,000 of a large dataset would take gigabytes.
_AT_ONCE = 100


@dataclass(frozen=True)
class Estimate:
    """A mean over clips, and the interval it has over resampled groups; one group alone says nothing of a spread."""

    mean: float
    low: float | None
    high: float | None


@dataclass(frozen=True)
class Expected:
    """Bounds of the mean of a measure over the evaluated clips, each clip's at most the radius.

    ``lower`` is None where the job asked for no lower bound on the measure.
    """

    measure: str
    guarantee: str | None
    lower: Estimate | None
    upper: Estimate


@dataclass(frozen=True)
class Summary:
    """What a job says as a whole."""

    job: Row  #: of ``job_progress``
    whole: Row  #: of ``class_robustness``, over all classes
    classes: Sequence[Row]  #: of the same view, class by class
    shares: Sequence[Row]  #: of ``certified_share``
    failed: Sequence[Row]  #: of ``video_bounds``, the clips of which nothing is claimed
    groups: int  #: that the evaluated clips are of
    expected: Sequence[Expected]

    @property
    def beyond(self) -> tuple[int, int]:
        """How many of the displacements lie beyond the radius, and of how many."""
        known = {row["displacement"]: row["beyond_radius"] for row in self.shares}
        return sum(map(bool, known.values())), len(known)

    @property
    def entries(self) -> float | None:
        """Flow entries of a clip."""
        return next((row["entries"] for row in self.shares), None)

    def guarantee(self, median: str) -> str | None:
        """What a column of medians of lower bounds is worth; None where the job did not ask for it."""
        measure, begins = _LOWER_MEDIANS[median]
        labels = (row["guarantee"] for row in self.shares if row["measure"] == measure)
        return next((label for label in labels if label.startswith(begins)), None)


def evaluated(row: Row) -> bool:
    """Whether a clip, a row of ``video_bounds``, says anything: it was predicted, and did not fail."""
    return row["predicted"] is not None and row["verdict"] != Verdict.FAILED


def correct(row: Row) -> bool:
    """Whether an evaluated clip is predicted as its label."""
    return bool(row["predicted"] == row["label"])


def share(count: int, of: int) -> float | None:
    """A share, None of nothing."""
    return count / of if of else None


def read_summary(engine: Engine, job_id: int) -> Summary:
    """Sum up a job as it stands; its clips may still be in work."""
    whole, *classes = class_rows(engine, job_id)
    shares, clips = share_rows(engine, job_id), clip_rows(engine, job_id)
    spoken_of = [row for row in clips if evaluated(row)]
    return Summary(
        job=job_progress(engine, job_id), whole=whole, classes=classes, shares=shares,
        failed=[row for row in clips if row["verdict"] == Verdict.FAILED],
        groups=len(set(numbered_groups(spoken_of))),
        expected=list(expected(spoken_of, list(dict.fromkeys((row["measure"], row["guarantee"]) for row in shares)))),
    )  # fmt: skip


def expected(clips: Sequence[Row], asked: Sequence[tuple[str, str]]) -> Iterator[Expected]:
    """Expected bounds of each measure and guarantee that was asked for; of none of them where there is no clip.

    MSR has upper bounds without having been asked for.
    """
    measures: list[tuple[str, str | None]] = list(asked)
    if all(measure != "MSR" for measure, _ in asked):
        measures.append(("MSR", None))
    if not clips:
        return
    columns = [
        [restricted(row, known_bounds(row, *measure)[side]) for row in clips] for measure in measures for side in (0, 1)
    ]
    estimates = bootstrap(columns, numbered_groups(clips))
    for place, (measure, guarantee) in enumerate(measures):
        lower, upper = estimates[2 * place : 2 * place + 2]
        yield Expected(measure, guarantee, None if guarantee is None else lower, upper)


def known_bounds(row: Row, measure: str, guarantee: str | None) -> tuple[float, float]:
    """A clip's bounds on a measure under one guarantee: 0 and infinity for what is not known."""
    if measure == "FMSR":
        lower, upper = row["fmsr_lower"], row["fmsr_upper"]
    else:
        lower = row["certified_radius" if guarantee == Guarantee.CONTINUOUS else "constant_lower"]
        upper = row["msr_upper"]
    return lower or 0.0, math.inf if upper is None else upper


def restricted(row: Row, bound: float) -> float:
    """What a clip's bound is worth within the radius: nothing for a clip that is wrong as it is."""
    return min(bound, row["radius"]) if correct(row) else 0.0


def numbered_groups(clips: Sequence[Row]) -> list[int]:
    """Number of each clip's group, from 0 on."""
    numbers: dict[Group, int] = {}
    return [numbers.setdefault(group_of(row["label"], row["video"]), len(numbers)) for row in clips]


def bootstrap(columns: Sequence[Sequence[float]], groups: Sequence[int], seed: int = SEED) -> list[Estimate]:
    """Mean of each column, which has a value a clip, and its percentile interval over resampled groups of clips.

    ``groups`` has the number of each clip's group, from 0 on. Clips of one group are drawn together: they show the same
    footage, and drawn one by one they would pass for independent. All columns are drawn alike, so that what holds of
    every clip holds of the intervals too.
    """
    # Loaded late: numpy takes longer to load than most commands to run.
    import numpy as np

    values = np.asarray(columns, dtype=np.float64)
    means = [math.fsum(column) / len(groups) for column in columns]
    sizes = np.bincount(groups)
    if len(sizes) < 2:
        return [Estimate(mean, None, None) for mean in means]
    sums = [np.bincount(groups, weights=column) for column in values]
    generator = np.random.default_rng(seed)
    drawn_means = np.empty((len(values), RESAMPLES))
    for start in range(0, RESAMPLES, _AT_ONCE):
        drawn = generator.integers(len(sizes), size=(_AT_ONCE, len(sizes)))
        # Groups differ in size, and so do the draws: each is divided by the clips it has.
        clips = sizes[drawn].sum(axis=1)
        for place, column in enumerate(sums):
            drawn_means[place, start : start + _AT_ONCE] = column[drawn].sum(axis=1) / clips
    lows, highs = np.quantile(drawn_means, ((1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2), axis=1)
    return [Estimate(*map(float, row)) for row in zip(means, lows, highs, strict=True)]
