"""Decides how a job looks on a terminal while it runs: bars of the whole, workers, and bounds of clips closing."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from rich.console import Console, Group, RenderableType
from rich.markup import escape
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from common.vocab import Guarantee, JobStatus, Verdict, VideoStatus
from scheduler.intake.official import short_name
from scheduler.report.live import Look
from scheduler.report.progress_words import bounded, clips_finished, pace, points, verdicts
from scheduler.report.rows import Row
from scheduler.report.tables import VERDICT_STYLES, bounds, msr_bounds, works_on

#: Lines that are neither a worker's nor a clip's: the job, its bars, empty ones, the axis, what signs mean, a last one.
_OTHER = 10
#: Widths of columns with the gaps behind them; what they leave of a line is the bars'.
_NAME, _STATE, _BOUNDS, _POINTS = 30, 15, 18, 26
_BAR, _WIDEST_BAR = 16, 72
#: Signs of a bar and their styles: proved to be safe, not known, known to have an adversarial point.
_SIGNS = {
    "safe": ("━", "#", "green"),
    "exact": ("┃", "|", "bold blue"),
    "open": ("┄", ".", "yellow"),
    "beyond a witness": ("╳", "x", "red"),
}


def clip_lines(height: int, crew: int) -> int:
    """How many clips a terminal of so many lines has room for, beside so many workers."""
    return max(height - _OTHER - min(max(crew, 1), _crew_lines(height)), 1)


def picture(look: Look, console: Console, lease: float) -> RenderableType:
    """Draw a look to fit the console; a worker that has not beaten for ``lease`` seconds is marked."""
    height, width = console.size.height, console.size.width
    crew = list(_crew(look, _crew_lines(height), lease))
    axis = Axis(look.job["tau"], look.job["radius"], ascii_only=console.options.ascii_only)
    shown = look.clips[: clip_lines(height, len(crew))]
    return Group(*_head(look.job), Text(), *crew, Text(), _clips(look, shown, axis, width), axis.legend(shown))


@dataclass(frozen=True)
class Axis:
    """A logarithmic axis of distances in pixels that all bars of a job share: from one step to the radius."""

    tau: float
    radius: float
    ascii_only: bool = False

    @property
    def start(self) -> float:
        """Where it begins: at one step, which nothing adversarial is nearer than, unless that is nearly the radius."""
        return self.tau if self.tau < self.radius / 2 else self.radius / 10

    def column(self, pixels: float, width: int) -> float:
        """Where a distance is, in columns from the left, within the bar."""
        if pixels <= self.start:
            return 0.0
        return min(math.log(pixels / self.start) / math.log(self.radius / self.start), 1.0) * width

    def bar(self, row: Row, width: int) -> Text:
        """A clip's FMSR: what is safe, what is open, and what lies beyond a witness. No column claims too much."""
        if not _bounded(row):
            return Text()
        below, above = row["fmsr_lower"], row["fmsr_upper"]
        lower = math.floor(self.column(below, width) + 1e-9)
        upper = width if above is None else max(math.ceil(self.column(above, width) - 1e-9), lower)
        exact = below == above
        if exact:
            lower = min(lower, width - 1)
            upper = lower + 1
        bar = Text()
        for name, count in (
            ("safe", lower), ("exact" if exact else "open", upper - lower), ("beyond a witness", width - upper),
        ):  # fmt: skip
            bar.append(self._sign(name) * count, _SIGNS[name][2])
        return bar

    def legend(self, clips: Sequence[Row]) -> Text:
        """What the signs of the clips' bars mean; which guarantee their lower bounds have is the same for all."""
        guarantee = next((row["fmsr_lower_guarantee"] for row in clips if _bounded(row)), Guarantee.GRID)
        said = Text(no_wrap=True, overflow="ellipsis")
        for name, (*_, style) in _SIGNS.items():
            words = f"{name} ({guarantee})" if name == "safe" else name
            said.append(self._sign(name) * 2, style).append(f" {words}  ", "dim")
        return said

    def _sign(self, name: str) -> str:
        return _SIGNS[name][int(self.ascii_only)]

    def ruler(self, width: int) -> str:
        """The axis in numbers: one step, powers of ten, the radius."""
        line = [" "] * width
        ticks = [self.radius, self.start, *(10.0**power for power in range(-9, 10))]
        for tick in (tick for tick in ticks if self.start <= tick <= self.radius):
            name = f"{tick:g}"
            place = min(round(self.column(tick, width)), width - len(name))
            span = slice(max(place - 1, 0), place + len(name) + 1)
            if place >= 0 and "".join(line[span]).isspace():
                line[place : place + len(name)] = name
        return "".join(line)


def _head(job: Row) -> Iterator[RenderableType]:
    status = Text(job["status"], "bold" if job["status"] == JobStatus.RUNNING else "bold yellow")
    if job["status"] == JobStatus.PAUSED:
        status.append(f"; flowcert resume {job['job_id']} goes on", "yellow")
    game = f"{job['model']}, {job['features']}, {job['norm']}, tau {job['tau']:g} px, radius {job['radius']:g} px"
    said = Text.assemble((f"job {job['job_id']} ", "bold"), status, "  ", (game, "dim"))
    yield Text(said.plain, spans=said.spans, no_wrap=True, overflow="ellipsis")
    bars = Table.grid(padding=(0, 2))
    total, needed = job["clips"], float(job["points_needed"])
    finished = f"{clips_finished(job)}{f': {found}' if (found := verdicts(job)) else ''}"
    explored = float(job["points_explored"])
    for name, done, of, words in (
        ("clips", job["clips_finished"], total, finished), ("bounds", job["clips_bounded"], total, bounded(job)),
        ("points", explored, needed, points(job)),
    ):  # fmt: skip
        bars.add_row(name, ProgressBar(total=of or 1, completed=done, width=24), Text(words, no_wrap=True))
    bars.add_row("pace", "", Text(pace(job).removeprefix(", ") or "?", no_wrap=True))
    yield bars


def _crew_lines(height: int) -> int:
    return max(height // 5, 1)


def _crew(look: Look, lines: int, lease: float) -> Iterator[Text]:
    """A line a worker; those that are left out are counted."""
    if not look.crew and look.job["status"] == JobStatus.RUNNING:
        yield Text("no worker has shown itself lately; flowcert worker starts one", "yellow", no_wrap=True)
    shown = look.crew if len(look.crew) <= lines else look.crew[: lines - 1]
    for row in shown:
        yield _worker(row, look.job["job_id"], "dim" if row["seconds_since_beat"] < lease else "red")
    if len(shown) < len(look.crew):
        busy = sum(row["task"] is not None for row in look.crew)
        left_out = f"… {len(look.crew) - len(shown):,} more workers; {busy:,} of {len(look.crew):,} have a task"
        yield Text(left_out, "dim", no_wrap=True, overflow="ellipsis")


def _worker(row: Row, job_id: int, style: str) -> Text:
    """A worker: who it is, when it beat, and what it does."""
    line = Text(no_wrap=True, overflow="ellipsis")
    line.append(f"{row['worker']} {row['device']}, seen {row['seconds_since_beat']:.0f} s ago: ", style)
    line.append_text(Text.from_markup(works_on(row)))
    if row["task"] is not None:
        other = "" if row["job_id"] == job_id else f", job {row['job_id']}"
        line.append(f" (task {row['task']}{other})")
    return line


def _clips(look: Look, clips: Sequence[Row], axis: Axis, width: int) -> RenderableType:
    name = min(_NAME, max(width - _BOUNDS - _BAR // 2, _BAR // 2))
    spare = width - name - _BOUNDS - _BAR
    # What is worth most comes first, until the line is full.
    with_state, with_msr = spare >= _STATE, spare >= _STATE + _BOUNDS
    with_points = spare >= _STATE + _BOUNDS + _POINTS
    widths = [*[_STATE] * with_state, *[_BOUNDS] * with_msr, *[_POINTS] * with_points]
    bar = max(min(_BAR + spare - sum(widths), _WIDEST_BAR), _BAR // 2) - 2
    kinds = {row["video_id"]: row["kind"] for row in look.crew if row["job_id"] == look.job["job_id"]}
    table = Table.grid(padding=(0, 2, 0, 0))

    def add(first: Text, state: RenderableType, drawn: RenderableType, fmsr: str, msr: str, points: str) -> None:
        table.add_row(first, *[state] * with_state, drawn, fmsr, *[msr] * with_msr, *[points] * with_points)

    for size in (name, *[_STATE] * with_state, bar + 2, _BOUNDS, *[_BOUNDS] * with_msr, *[_POINTS] * with_points):
        table.add_column(no_wrap=True, overflow="ellipsis", width=size - 2)
    add(Text("clip", "dim"), "", Text(axis.ruler(bar), "dim"), f"FMSR, px {look.job['norm']}", "MSR", "points")
    for row in clips:
        known = (bounds(row), msr_bounds(row)) if _bounded(row) else ("", "")
        add(_name(row, name - 2), _state(row, kinds), axis.bar(row, bar), *known, _points(row))
    return table


def _bounded(row: Row) -> bool:
    """Whether a clip has bounds that say something."""
    return row["verdict"] not in (Verdict.MISCLASSIFIED, Verdict.FAILED) and row["fmsr_lower"] is not None


def _name(row: Row, width: int) -> Text:
    """The end of a clip's name: clips of one folder begin alike."""
    name = short_name(row["video"])
    return Text(name if len(name) <= width else f"…{name[1 - width :]}")


def _state(row: Row, kinds: dict[int, str]) -> str:
    if row["video_id"] in kinds:
        return f"[bold]{escape(kinds[row['video_id']])}[/bold]"
    if row["status"] in (VideoStatus.DONE, VideoStatus.FAILED):
        return f"[{VERDICT_STYLES[row['verdict']]}]{row['verdict']}[/]"
    return f"[dim]{row['status']}[/dim]"


def _points(row: Row) -> str:
    if row["points_needed"] is None:
        return ""
    needed = max(int(row["points_needed"]), row["points_explored"])
    of = f"{needed:,}" if needed < 10**9 else f"{needed:.1e}"
    return f"{row['points_explored']:,} of {of}"
