"""Decides how the steps of a long piece of work are shown: bars on a terminal, lines in a log, with an estimate."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from scheduler.cli.output import note, notes_console

#: Pause between two lines where there is no terminal to draw on, in seconds.
LOG_PAUSE = 5.0


class Steps(Protocol):
    """Where steps are shown."""

    def step(self, text: str, done: int, total: int) -> None:
        """So many steps are done, of those that ``text`` names."""
        ...


class StepBars:
    """Draws a bar for each kind of step, and what is given ``below`` them."""

    def __init__(self, console: Console, *below: RenderableType) -> None:
        columns = (BarColumn(bar_width=20), MofNCompleteColumn(), TextColumn("left"), TimeRemainingColumn())
        self._bars = Progress(TextColumn("{task.description}"), *columns)
        self._tasks: dict[str, TaskID] = {}
        self.live = Live(Group(self._bars, *below), console=console, refresh_per_second=4)

    def step(self, text: str, done: int, total: int) -> None:
        """Draw the steps' bar."""
        if text not in self._tasks:
            # What an earlier run did counts as done from the start, and so does not hurry the estimate.
            self._tasks[text] = self._bars.add_task(text, total=total, completed=done - 1)
        self._bars.update(self._tasks[text], completed=done)


class StepLog:
    """Writes lines, not too often; the last of a kind of step is always written."""

    def __init__(self) -> None:
        self._stage, self._start, self._before = "", 0.0, 0
        self._step_at = 0.0

    def step(self, text: str, done: int, total: int) -> None:
        """Write a line, unless the last one is fresh."""
        now = time.monotonic()
        if text != self._stage:
            self._stage, self._start, self._before = text, now, done - 1
            self._step_at = now
        if done < total and now - self._step_at < LOG_PAUSE:
            return
        rate = (done - self._before) / max(now - self._start, 1e-9)
        left = f", about {(total - done) / rate:.0f} s left" if done < total else ""
        note(f"{done:,} of {total:,} {text}{left}")
        self._step_at = now


@contextmanager
def shown_steps() -> Iterator[Steps]:
    """Show steps wherever standard error leads."""
    console = notes_console()
    if not console.is_terminal:
        yield StepLog()
        return
    bars = StepBars(console)
    with bars.live:
        yield bars
