"""Decides how a clip's witness is told: as the two players' strategy, whole for programs and short for people."""

from __future__ import annotations

from collections.abc import Sequence

from rich.text import Text

from common.features import parse_partition
from common.moves import Move, Regions, brief, moves_of, real_moves_of, strategy
from scheduler.intake.official import short_name
from scheduler.report.rows import Row


def with_strategies(rows: Sequence[Row], witnesses: Sequence[Row]) -> list[Row]:
    """Add to each clip's row its ``strategy``: the moves of its cheapest replayed witness, None where it has none.

    ``witnesses`` are rows of ``clip_witnesses`` of the same job.
    """
    told = {witness["video_id"]: strategy(moves(witness)) for witness in witnesses}
    return [{**row, "strategy": told.get(row["video_id"])} for row in rows]


def strategy_lines(witnesses: Sequence[Row]) -> list[Text]:
    """Tell each witness in a line below a table: the clip, the class it becomes, and the first moves that do it."""
    lines = [f"{short_name(row['video'])}: {row['predicted']} by {brief(moves(row))}" for row in witnesses]
    return [Text(line) for line in ["", *lines]] if lines else []


def moves(witness: Row) -> tuple[Move, ...]:
    """Moves of a row of ``clip_witnesses``, of either kind."""
    regions = Regions(witness["region_sizes"], parse_partition(witness["features"]), witness["width"])
    if witness["kind"] == "real":
        return real_moves_of(witness["moves"], regions)
    return moves_of(tuple((int(place), int(steps)) for place, steps in witness["point"]), witness["tau"], regions)
