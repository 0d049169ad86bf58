"""Decides how a job's progress is shown while it runs, on a terminal and in a log."""

from __future__ import annotations

import time
from collections.abc import Callable

from rich.console import Group, RenderableType
from rich.live import Live
from rich.markup import escape
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text
from sqlalchemy.exc import OperationalError

from common.vocab import JobStatus
from scheduler.cli.output import note, notes_console
from scheduler.cli.servers import Servers
from scheduler.report.rows import Row, job_progress, latest_moves, worker_rows
from scheduler.report.tables import bounds, clip_name, duration, works_on

#: Pause between two looks at the database, in seconds.
_PAUSE = 0.5
#: Pause between two lines where there is no terminal to draw on, in seconds.
_LOG_PAUSE = 5.0
#: Moves of bounds that are shown.
_MOVES = 5


def follow(servers: Servers, job_id: int, tend: Callable[[], None] | None = None) -> Row:
    """Show a job until it is done or cancelled, calling ``tend`` at each look; returns its last progress."""
    console = notes_console()
    if not console.is_terminal:
        return _until_finished(servers, job_id, tend, _Log())
    with Live(console=console, refresh_per_second=4, transient=True) as live:

        def show(row: Row) -> None:
            live.update(_picture(servers, row))

        return _until_finished(servers, job_id, tend, show)


def _until_finished(servers: Servers, job_id: int, tend: Callable[[], None] | None, show: Callable[[Row], None]) -> Row:
    while True:
        if tend is not None:
            tend()
        try:
            row = job_progress(servers.engine, job_id)
            show(row)
        except OperationalError:
            if not servers.embedded:
                raise
            servers.revive()
            continue
        if row["status"] not in (JobStatus.RUNNING, JobStatus.PAUSED):
            return row
        time.sleep(_PAUSE)


class _Log:
    """Writes a line when something changed, not too often."""

    def __init__(self) -> None:
        self._last = ""
        self._at = float("-inf")

    def __call__(self, row: Row) -> None:
        held = "paused, " if row["status"] == JobStatus.PAUSED else ""
        line = f"job {row['job_id']}: {held}{_clips(row)}, {_bounded(row)}, {_points(row)}"
        if line != self._last and time.monotonic() - self._at >= _LOG_PAUSE:
            note(line + _pace(row))
            self._last, self._at = line, time.monotonic()


def _picture(servers: Servers, row: Row) -> RenderableType:
    head = Table.grid(padding=(0, 2))
    head.add_row(Text(f"job {row['job_id']}", style="bold"), row["status"], _verdicts(row))
    bars = Table.grid(padding=(0, 2))
    bars.add_row("clips", ProgressBar(total=row["clips"], completed=row["clips_finished"], width=30), _clips(row))
    bars.add_row("bounds", ProgressBar(total=row["clips"], completed=row["clips_bounded"], width=30), _bounded(row))
    explored, needed = float(row["points_explored"]), float(row["points_needed"])
    bars.add_row("points", ProgressBar(total=needed or 1, completed=explored, width=30), _points(row) + _pace(row))
    lease = servers.settings.lease_seconds
    live = [worker for worker in worker_rows(servers.engine) if worker["seconds_since_beat"] < lease]
    moves = latest_moves(servers.engine, row["job_id"], _MOVES)
    return Group(
        head,
        bars,
        *(f"  [dim]{escape(worker['worker'])}[/dim] {works_on(worker)}" for worker in live),
        *(f"  {clip_name(move)} [cyan]{bounds(move)}[/cyan]" for move in moves),
    )


def _verdicts(row: Row) -> str:
    words = ("solved", "robust", "open", "misclassified", "failed")
    return ", ".join(f"{row[word]} {word}" for word in words if row[word])


def _clips(row: Row) -> str:
    return f"{row['clips_finished']} of {row['clips']} clips finished"


def _bounded(row: Row) -> str:
    return f"{row['clips_bounded']} attacked and bounded"


def _points(row: Row) -> str:
    prepared = "" if row["clips_prepared"] + row["failed"] >= row["clips"] else " (so far)"
    return f"{int(row['points_explored']):,} of {int(row['points_needed']):,} points{prepared}"


def _pace(row: Row) -> str:
    rate, eta = row["points_per_second"], row["eta_seconds"]
    pace = "" if rate is None else f", {float(rate):,.0f}/s"
    return pace if eta is None else f"{pace}, {duration(eta)} left"
