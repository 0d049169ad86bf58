"""Decides what the page of one clip says."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from common.moves import turns
from common.vocab import Verdict
from scheduler.intake.official import short_name
from scheduler.report.pages.chart import Chart
from scheduler.report.pages.curves import convergence_chart
from scheduler.report.rows import Row
from scheduler.report.strategy import moves

#: Flows whose moves are told; of a real change, which moves most regions, each has many.
_MOST_TURNS = 40
#: Letters of all moves from which they are folded.
_FOLDED = 3_000
#: Letters of one flow's moves that are shown.
_MOST_LETTERS = 2_000


@dataclass(frozen=True)
class ClipPage:
    """One clip, with everything its page shows."""

    row: Row  #: of ``video_bounds``
    name: str
    why: str  #: what the verdict means for this clip, in a sentence
    routes: Sequence[Row]  #: of ``video_guarantees``
    chart: Chart | None
    witness: Row | None  #: of ``clip_witnesses``
    turns: Sequence[str]  #: its moves in words
    turns_left: int  #: and how many flows' moves are not told
    picture: Mapping[str, Any]  #: what ``worker.entry.draw_report`` answered, with a ``problem`` where nothing is drawn

    @property
    def file(self) -> str:
        """The page, from the report's folder; never made of a clip's own name."""
        return f"clips/{self.row['video_id']}.html"

    @property
    def folder(self) -> str:
        """Its pictures, from the page."""
        return str(self.row["video_id"])

    @property
    def long(self) -> bool:
        """Whether the moves fill so much of the page that they are folded."""
        return sum(map(len, self.turns)) > _FOLDED

    @property
    def first_changed(self) -> int:
        """The frame that is shown at rest, from 1: the second where none is changed, for no flow leads to the first."""
        changed = self.picture["changed_frames"]
        return int(changed[0]) if changed else 2


def clip_page(
    row: Row, routes: Sequence[Row], trace: Sequence[Row], witness: Row | None, picture: Mapping[str, Any]
) -> ClipPage:
    """Gather a clip's page; rows are those of the views that are about it."""
    told = [] if witness is None else [_cut(turn) for turn in turns(moves(witness))]
    return ClipPage(
        row, short_name(row["video"]), _why(row), routes, convergence_chart(row, trace), witness, told[:_MOST_TURNS],
        max(0, len(told) - _MOST_TURNS), {"sprites": {}, "changed_frames": [], **picture},
    )  # fmt: skip


def _cut(text: str) -> str:
    return text if len(text) <= _MOST_LETTERS else f"{text[:_MOST_LETTERS]} …"


def _why(row: Row) -> str:
    reason = (row["reason"] or "").removeprefix(f"{row['video']}: ")
    match row["verdict"]:
        case Verdict.MISCLASSIFIED:
            return (
                f"The model takes the unchanged clip for {row['predicted']}, and its label is {row['label']}:"
                " there is no right answer to protect, and nothing is claimed."
            )
        case Verdict.FAILED:
            return f"Nothing is claimed of this clip: {reason}"
        case Verdict.SOLVED:
            return (
                "Both bounds on FMSR are equal: the witness is a least adversarial manipulation on the grid, "
                f"and no grid point that costs less is adversarial (guarantee {row['fmsr_lower_guarantee']})."
            )
        case Verdict.ROBUST:
            return (
                "No grid point within the radius is adversarial "
                f"(guarantee {row['fmsr_lower_guarantee']}); that says nothing of changes between grid points."
            )
        case _ if row["predicted"] is None:
            return "This clip was not prepared yet; nothing is known of it."
        case _:
            return f"The bounds differ: {reason or 'the job is still at work on this clip'}"
