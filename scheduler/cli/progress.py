"""Decides how a job is followed while it runs: drawn on a terminal, and told in lines where there is none."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

from rich.live import Live
from sqlalchemy.exc import OperationalError

from common.vocab import JobStatus
from scheduler.cli.output import note, notes_console
from scheduler.cli.servers import Servers
from scheduler.cli.steps import LOG_PAUSE
from scheduler.report.live import Watcher
from scheduler.report.live_picture import clip_lines, picture
from scheduler.report.progress_words import bounded, clips_finished, pace, points
from scheduler.report.rows import Row, job_progress

#: Least pause between two looks at the database, in seconds.
_PAUSE = 0.5
#: A look may take this part of the time, so that a large job's database is not kept busy by who watches it.
_SHARE = 0.2


def follow(servers: Servers, job_id: int, tend: Callable[[], None] | None = None) -> Row:
    """Show a job until it is done or cancelled, calling ``tend`` at each look; returns its last progress."""
    console = notes_console()
    # What only stands in for a terminal cannot be drawn on: colours may be forced into a file.
    if not sys.stderr.isatty() or not console.is_terminal or console.is_dumb_terminal:
        log = _Log()
        return _until_finished(servers, tend, lambda: log(job_progress(servers.engine, job_id)))
    lease = servers.settings.lease_seconds
    watcher, crew = Watcher(servers.engine, job_id, silent=2 * lease), 0
    with Live(console=console, auto_refresh=False, transient=True) as live:

        def show() -> Row:
            nonlocal crew
            look = watcher.look(clip_lines(console.size.height, crew))
            crew = len(look.crew)
            live.update(picture(look, console, lease), refresh=True)
            return look.job

        return _until_finished(servers, tend, show)


def _until_finished(servers: Servers, tend: Callable[[], None] | None, show: Callable[[], Row]) -> Row:
    while True:
        if tend is not None:
            tend()
        began = time.monotonic()
        try:
            row = show()
        except OperationalError:
            if not servers.embedded:
                raise
            servers.revive()
            continue
        if row["status"] not in (JobStatus.RUNNING, JobStatus.PAUSED):
            return row
        time.sleep(max(_PAUSE, (time.monotonic() - began) * (1 / _SHARE - 1)))


class _Log:
    """Writes a line when something changed: at once when it is the job's status, otherwise not too often."""

    def __init__(self) -> None:
        self._line = self._status = ""
        self._at = float("-inf")

    def __call__(self, row: Row) -> Row:
        held = "" if row["status"] == JobStatus.RUNNING else f"{row['status']}, "
        line = f"job {row['job_id']}: {held}{clips_finished(row)}, {bounded(row)}, {points(row)}"
        due = time.monotonic() - self._at >= LOG_PAUSE or row["status"] != self._status
        if line != self._line and due:
            note(line + pace(row))
            self._line, self._status, self._at = line, row["status"], time.monotonic()
        return row
