"""Decides how a training runs beside the command and how its progress is shown, on a terminal and in a log."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Generator, Mapping
from contextlib import closing, nullcontext
from typing import IO, Any, Protocol

from rich.console import Console
from rich.text import Text

from common.errors import InputError, ServerError
from scheduler.cli.output import note, notes_console, results_console
from scheduler.cli.steps import LOG_PAUSE, StepBars, StepLog
from scheduler.programs import last_words

#: How long a training may take to end when it is told to, in seconds.
_PATIENCE = 20.0
_STAGES = {"decode": "clips decoded", "encode": "clips encoded", "train": "steps trained"}

Event = Mapping[str, Any]


def run_training(document: Mapping[str, Any]) -> None:
    """Run ``worker.entry.train``, a program of its own, for only workers have torch; show what it tells.

    Raises InputError at the option that is wrong, ServerError when the program ended without a word.
    """
    console = notes_console()
    bars = _Bars(console) if console.is_terminal else None
    shown: _Shown = bars or _Log()
    last: Event = {}
    try:
        with bars.live if bars is not None else nullcontext(), closing(_events(document)) as events:
            for last in events:
                _show(last, shown)
    except KeyboardInterrupt:
        note("stopping; the epochs that were kept stay: give the same command again to go on")
        raise
    if last.get("event") == "refused":
        raise _located(last["where"], last["problem"])
    if last.get("event") == "done":
        _conclude(last)


class _Shown(Protocol):
    """Where progress is shown."""

    def step(self, text: str, done: int, total: int) -> None:
        """So many of a stage are done."""
        ...

    def epoch(self, text: str, *, final: bool) -> None:
        """An epoch is done."""
        ...


class _Bars(StepBars):
    """Draws the last epoch below the bars too."""

    def __init__(self, console: Console) -> None:
        self._epoch = Text()
        super().__init__(console, self._epoch)

    def epoch(self, text: str, *, final: bool) -> None:  # noqa: ARG002 - a log has to know.
        self._epoch.plain = text


class _Log(StepLog):
    """Writes epochs too, not too often; the last is always written."""

    def __init__(self) -> None:
        super().__init__()
        self._epoch_at = 0.0

    def epoch(self, text: str, *, final: bool) -> None:
        if final or time.monotonic() - self._epoch_at >= LOG_PAUSE:
            note(text)
            self._epoch_at = time.monotonic()


def _show(event: Event, shown: _Shown) -> None:
    if event["event"] == "note":
        note(event["text"])
    elif event["event"] == "step":
        stage = event["stage"]
        shown.step(_STAGES.get(stage, f"{stage.partition(' ')[2]} clips measured"), event["done"], event["total"])
    elif event["event"] == "epoch":
        validation = event["validation_accuracy"]
        measured = "" if validation is None else f", validation {validation:.1%}"
        trained = f"loss {event['loss']:.3f}, train {event['train_accuracy']:.1%}"
        shown.epoch(
            f"epoch {event['epoch']} of {event['epochs']}: {trained}{measured}", final=event["epoch"] == event["epochs"]
        )


def _conclude(event: Event) -> None:
    for side, found in event["accuracy"].items():
        results_console().print(f"{side}: accuracy {found['accuracy']:.1%} of {found['clips']} clips", highlight=False)
    note(f"wrote {event['out']} ({event['bytes']:,} bytes); metrics and checkpoint are beside it")


def _events(document: Mapping[str, Any]) -> Generator[Event]:
    """What the training tells; it is ended, and waited for, whenever this is left."""
    with tempfile.TemporaryFile("w+") as said:
        command = [sys.executable, "-P", "-m", "worker.entry.train"]
        # In a session of its own, so that Ctrl-C reaches it once, and through us.
        process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=said, text=True, start_new_session=True
        )
        try:
            _hand_over(process.stdin, json.dumps(document))
            for line in process.stdout or ():
                event = json.loads(line)
                yield event
                if event["event"] == "refused":
                    return
            status = process.wait()
        finally:
            _end(process)
        if status:
            said.seek(0)
            raise ServerError(f"the training ended early: {last_words(said.read(), status)}")


def _hand_over(pipe: IO[str] | None, text: str) -> None:
    if pipe is not None:
        with pipe:
            pipe.write(text)


def _end(process: subprocess.Popen[str]) -> None:
    # Closed first: a program that waits for its last words to be read would not end.
    if process.stdout is not None:
        process.stdout.close()
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(_PATIENCE)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _located(where: str, problem: str) -> InputError:
    """Name a field as the option it is given in."""
    names = {"height": "size", "width": "size", "args": "model_args"}
    field, _, inner = where.partition(".")
    named = where if field.isupper() or "/" in where else f"--{names.get(field, field).replace('_', '-')}"
    if named != where and inner:
        named = f"{named.partition('.')[0]}: {inner}"
    return InputError(named, problem)
