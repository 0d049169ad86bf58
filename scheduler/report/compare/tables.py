"""Decides how a comparison of two jobs looks on a terminal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.console import RenderableType
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from scheduler.report.compare.comparison import Comparison
from scheduler.report.compare.pairs import Outcome
from scheduler.report.compare.settings import shown
from scheduler.report.compare.statistics import AT_LEAST, AT_MOST, RESAMPLES, Compared, Median
from scheduler.report.rows import Row
from scheduler.report.summary import CONFIDENCE, SEED
from scheduler.report.tables import at_least, at_most, bounds, clip_name, columned, distance

_STYLES = {Outcome.A: "bold blue", Outcome.B: "bold magenta", Outcome.EQUAL: "bold", Outcome.UNDECIDED: "dim"}


def comparison_tables(comparison: Comparison) -> Iterator[RenderableType]:
    """What differs, the clips side by side, and what is known of the difference, a table each."""
    a, b = comparison.a, comparison.b
    yield Text(f"A is job {a['job_id']} ({a['status']}), B is job {b['job_id']} ({b['status']})")
    yield from (Text(), _settings(comparison.differences))
    yield from (Text(remark) for remark in comparison.remarks)
    yield Text()
    for measure in comparison.measures:
        yield _clips(comparison, measure.measure)
        yield Text(
            f"A − B takes each of the two as at most {comparison.radius:g} px, and as 0 where it is misclassified"
        )
        yield Text()
    yield from (_counts(comparison), Text())
    for measure in comparison.measures:
        yield from (*_outcomes(measure), Text(), *_medians(measure, comparison), Text(), *_tests(measure), Text())


def _settings(rows: Sequence[Row]) -> RenderableType:
    if not rows:
        return Text("the two specifications and budgets are the same")
    table = columned("differs", "A", "B")
    for row in rows:
        table.add_row(row["field"], escape(shown(row["a"])), escape(shown(row["b"])))
    return table


def _clips(comparison: Comparison, measure: str) -> Table:
    name, norm = measure.lower(), comparison.a["norm"]
    bound = f">{measure} %s, px {norm}"
    table = columned("clip", "verdict A", "verdict B", bound % "A", bound % "B", f">A − B, px {norm}", "ahead")
    for row in comparison.rows:
        word = row[f"{name}_outcome"]
        least, most = row[f"{name}_difference_at_least"], row[f"{name}_difference_at_most"]
        table.add_row(
            clip_name(row), row["verdict_a"], row["verdict_b"], *(_bounds(row, name, side) for side in "ab"),
            _range(least, most), "" if word is None else _word(word),
        )  # fmt: skip
    return table


def _bounds(row: Row, name: str, side: str) -> str:
    if row[f"verdict_{side}"] in ("misclassified", "failed"):
        return ""
    return bounds({"fmsr_lower": row[f"{name}_lower_{side}"], "fmsr_upper": row[f"{name}_upper_{side}"]})


def _range(least: float | None, most: float | None) -> str:
    if least is None or most is None:
        return ""
    return f"= {distance(least)}" if least == most else f"{at_least(least)} .. {at_most(most)}"


def _word(word: Outcome) -> str:
    text = {Outcome.A: "A", Outcome.B: "B"}.get(word, str(word))
    return f"[{_STYLES[word]}]{text}[/]"


def _counts(comparison: Comparison) -> Table:
    matched, right = comparison.matched, comparison.correct
    table = columned("clips", ">")
    for name, count in (
        ("in both jobs", len(matched.pairs)), ("in A only", matched.only_a), ("in B only", matched.only_b),
        ("evaluated in both", sum(right.values())), ("  correct in both", right["both"]),
        ("  correct in A only", right["only_a"]), ("  correct in B only", right["only_b"]),
        ("  correct in neither", right["neither"]),
    ):  # fmt: skip
        table.add_row(name, f"{count:,}")
    if matched.changed:
        table.add_row("same path, other bytes", f"{matched.changed:,}")
    return table


def _outcomes(measure: Compared) -> Iterator[RenderableType]:
    table = columned(measure.measure, ">clips", ">of those, the other is misclassified")
    for word, name in (
        (Outcome.A, "A certainly ahead"), (Outcome.B, "B certainly ahead"), (Outcome.EQUAL, "equal"),
        (Outcome.UNDECIDED, "undecided"),
    ):  # fmt: skip
        alone = measure.by_class_alone.get(word)
        table.add_row(name, f"{measure.outcomes[word]:,}", "" if alone is None else f"{alone:,}")
    yield table
    yield Text(
        "ahead: the one's proved lower bound is above the other's upper bound; a misclassified clip has 0."
        " What rests on a Lipschitz constant decides nothing",
    )


def _medians(measure: Compared, comparison: Comparison) -> Iterator[RenderableType]:
    within = f"{100 * CONFIDENCE:g} % interval"
    table = columned(f"{measure.measure}, median of", f">px {comparison.a['norm']}", f">{within}")
    for row in measure.medians:
        # What is at least so much is rounded down, and what is at most so much up.
        rounded = at_least if row.quantity == AT_LEAST else at_most if row.quantity == AT_MOST else distance
        table.add_row(row.quantity, rounded(row.median), _interval(row))
    yield table
    yield Text(
        f"over {measure.clips:,} clips in {measure.groups:,} groups, each bound at most {comparison.radius:g} px and 0"
        f" for a misclassified clip; {RESAMPLES:,} resamples of groups, seed {SEED}. The median of A − B lies between"
        " the first two; the last two say how far the searches got, not which model is more robust",
    )


def _tests(measure: Compared) -> Iterator[RenderableType]:
    table = columned("test", ">clips", ">groups: A ahead", ">B ahead", ">even", ">p")
    for test in measure.tests:
        p_value = "" if test.p_value is None else f"{test.p_value:.2g}"
        counts = (test.clips, test.a, test.b, test.even)
        table.add_row(f"{measure.measure}: {test.name}", *(f"{count:,}" for count in counts), p_value)
    yield table
    yield Text(
        "sign test: of clips that are decided, a group counting once; signed rank: of mean differences of groups, over"
        " clips that are solved in both. Both are two-sided, and say nothing of clips that are undecided",
    )


def _interval(row: Median) -> str:
    return "" if row.low is None or row.high is None else f"{distance(row.low)} to {distance(row.high)}"
