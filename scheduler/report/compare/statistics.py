"""Decides what two jobs' bounds say together: on how many clips one is certainly ahead, and by how much it may be.

Clips of one group resemble each other, so tests count a group once, and intervals draw groups anew.
"""

from __future__ import annotations

import statistics
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from scheduler.report.compare.pairs import Known, Outcome, difference, known, outcome
from scheduler.report.rows import Row
from scheduler.report.summary import CONFIDENCE, SEED, correct, numbered_groups

#: How often the groups are drawn anew: medians cost more than means.
RESAMPLES = 2_000
#: Resamples in memory at once; all of a large dataset would take gigabytes.
_AT_ONCE = 100
#: Quantities that the median of A's measure less B's lies between.
AT_LEAST, AT_MOST = "A − B, at least", "A − B, at most"


@dataclass(frozen=True)
class Median:
    """A median over clips, in pixels, and its interval over resampled groups; None of one group alone."""

    quantity: str
    median: float
    low: float | None
    high: float | None


@dataclass(frozen=True)
class Tested:
    """A test of "neither is ahead more often": groups in which A, B and neither is ahead, and its p-value.

    The p-value is two-sided, and None where no group has one ahead.
    """

    name: str
    clips: int  #: that it is of
    a: int
    b: int
    even: int
    p_value: float | None


@dataclass(frozen=True)
class Compared:
    """What is known of one measure over the clips that both jobs evaluated."""

    measure: str
    clips: int
    groups: int
    outcomes: dict[Outcome, int]
    by_class_alone: dict[Outcome, int]  #: of those, clips on which one job is ahead since the other is misclassified
    medians: Sequence[Median]
    tests: Sequence[Tested]


def compared(pairs: Sequence[tuple[Row, Row]], measure: str) -> Compared:
    """Compare evaluated clips by one measure, FMSR or MSR."""
    knowns = [(known(a, measure), known(b, measure)) for a, b in pairs]
    outcomes = [outcome(*both) for both in knowns]
    groups = numbered_groups([a for a, _ in pairs])
    alone = [found for found, (a, b) in zip(outcomes, pairs, strict=True) if correct(a) != correct(b)]
    counted, by_class = Counter(outcomes), Counter(alone)
    return Compared(
        measure=measure, clips=len(pairs), groups=len(set(groups)),
        outcomes={word: counted[word] for word in Outcome},
        by_class_alone={word: by_class[word] for word in (Outcome.A, Outcome.B)},
        medians=_medians(knowns, groups, min((row["radius"] for pair in pairs for row in pair), default=0.0)),
        tests=[_sign_test(outcomes, groups), _signed_rank(pairs, knowns, groups)],
    )  # fmt: skip


def _medians(knowns: Sequence[tuple[Known, Known]], groups: Sequence[int], radius: float) -> list[Median]:
    between = [difference(a, b, radius) for a, b in knowns]
    quantities = {
        AT_LEAST: [least for least, _ in between],
        AT_MOST: [most for _, most in between],
        "lower A − lower B": [min(a.pixels[0], radius) - min(b.pixels[0], radius) for a, b in knowns],
        "upper A − upper B": [min(a.pixels[1], radius) - min(b.pixels[1], radius) for a, b in knowns],
    }
    if not knowns:
        return []
    intervals = median_intervals(list(quantities.values()), groups)
    return [
        Median(name, statistics.median(column), *interval)
        for (name, column), interval in zip(quantities.items(), intervals, strict=True)
    ]


def median_intervals(
    columns: Sequence[Sequence[float]], groups: Sequence[int], seed: int = SEED
) -> list[tuple[float, float] | tuple[None, None]]:
    """Percentile interval of each column's median over resampled groups; a column has a finite value a clip.

    ``groups`` has the number of each clip's group, from 0 on. All columns are drawn alike.
    """
    # Loaded late: numpy takes longer to load than most commands to run.
    import numpy as np

    members = np.asarray(groups)
    count = int(members.max()) + 1
    if count < 2:
        return [(None, None)] * len(columns)
    values = np.asarray(columns, dtype=np.float64)
    orders = np.argsort(values, axis=1, kind="stable")
    generator = np.random.default_rng(seed)
    medians = np.empty((len(values), RESAMPLES))
    for start in range(0, RESAMPLES, _AT_ONCE):
        drawn = generator.integers(count, size=(_AT_ONCE, count))
        times = np.stack([np.bincount(row, minlength=count) for row in drawn])
        for place, order in enumerate(orders):
            # How many of the draw's clips are at most the value at each place of the order.
            below = np.cumsum(times[:, members[order]], axis=1, dtype=np.int32)
            half = below[:, -1:] / 2
            first, second = (below >= half).argmax(axis=1), (below > half).argmax(axis=1)
            ordered = values[place, order]
            medians[place, start : start + _AT_ONCE] = (ordered[first] + ordered[second]) / 2
    lows, highs = np.quantile(medians, ((1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2), axis=1)
    return list(zip(map(float, lows), map(float, highs), strict=True))


def _sign_test(outcomes: Sequence[Outcome], groups: Sequence[int]) -> Tested:
    """In a group, the job is ahead that is certainly ahead on more of its clips."""
    ahead: dict[int, int] = defaultdict(int)
    certain = [(word, group) for word, group in zip(outcomes, groups, strict=True) if word != Outcome.UNDECIDED]
    for word, group in certain:
        ahead[group] += {Outcome.A: 1, Outcome.B: -1}.get(word, 0)
    a, b = (sum(sign * balance > 0 for balance in ahead.values()) for sign in (1, -1))
    p_value = None
    if a + b:
        # Loaded late: scipy takes longer to load than most commands to run.
        from scipy.stats import binomtest

        p_value = float(binomtest(a, a + b).pvalue)
    return Tested("sign test", len(certain), a, b, len(ahead) - a - b, p_value)


def _signed_rank(
    pairs: Sequence[tuple[Row, Row]], knowns: Sequence[tuple[Known, Known]], groups: Sequence[int]
) -> Tested:
    """Wilcoxon's test of exact differences, a group's mean each: of clips that both jobs solved."""
    solved: dict[int, list[float]] = defaultdict(list)
    for (first, second), (a, b), group in zip(pairs, knowns, groups, strict=True):
        if a.exact and b.exact and correct(first) and correct(second):
            solved[group].append(0.0 if a.lower == b.lower else a.pixels[0] - b.pixels[0])
    means = [statistics.fmean(values) for values in solved.values()]
    moved = [mean for mean in means if mean != 0]
    p_value = None
    if moved:
        # Loaded late: scipy takes longer to load than most commands to run.
        from scipy.stats import wilcoxon

        p_value = float(wilcoxon(moved).pvalue)
    ahead = sum(mean > 0 for mean in moved)
    clips = sum(map(len, solved.values()))
    return Tested(
        "Wilcoxon signed rank", clips, ahead, len(moved) - ahead, len(means) - len(moved), p_value
    )  # fmt: skip
