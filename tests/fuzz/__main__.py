"""Fuzzes everything that takes input from elsewhere, for as long as it is given: ``python -m tests.fuzz``.

Draws cases in turn, shares the time among the targets, tells how far it is, and writes what was tried, how often and
with what end to a file. A case is drawn again by ``--target NAME --case N``. Exits with 1 when anything was found.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from common.store.engine import open_engine
from common.telemetry import configure_logs
from migrations.schema import upgrade
from scheduler.embedded import start_stack
from tests.fuzz.job_files import JobFiles
from tests.fuzz.lists import Lists
from tests.fuzz.messages import Messages
from tests.fuzz.names import Names
from tests.fuzz.results import Results
from tests.fuzz.target import Target, Tried, rng_of, try_case
from tests.fuzz.videos import Videos
from tests.fuzz.weights import Weights

#: Shares of the time: what has the most ways to go wrong has the most of it.
SHARES = {"videos": 4, "results": 3, "weights": 2, "job files": 2, "lists": 1, "messages": 1, "names": 0.2}
#: Seconds that one target goes on before the next has its turn, and between two lines.
_SLICE, _LINE_SECONDS = 1.0, 10.0


def main() -> int:
    """Fuzz; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__.partition("\n")[0])
    parser.add_argument("--minutes", type=float, default=10.0, help="how long, in all")
    parser.add_argument("--seed", type=int, default=int(time.time()), help="what the cases are drawn from")
    parser.add_argument("--target", action="append", choices=list(SHARES), help="only this one; repeatable")
    parser.add_argument("--case", type=int, help="only this case, and let what it provokes through")
    parser.add_argument("--out", type=Path, default=Path("build/fuzz.json"), help="where to write what was tried")
    given = parser.parse_args()
    # What is refused is logged as well, thousands of times.
    configure_logs(as_json=False, level="CRITICAL")
    with ExitStack() as opened:
        targets = {name: opened.enter_context(target) for name, target in _targets(opened, given.target).items()}
        if given.case is not None:
            for name, target in targets.items():
                _tell(f"{name}: {target.attempt(rng_of(given.seed, name, given.case))}")
            return 0
        tried = _fuzz(targets, given.seed, given.minutes * 60)
    _write(given.out, tried, given)
    found = sum(len(one.findings) for one in tried.values())
    _tell(f"{sum(one.attempts for one in tried.values()):,} inputs tried, {found} findings; written: {given.out}")
    return 1 if found else 0


def _targets(opened: ExitStack, wanted: list[str] | None) -> dict[str, Any]:
    """The targets that are wanted; servers are started for those that need them."""
    names = wanted or list(SHARES)
    made: dict[str, Any] = {}
    if {"results", "messages"} & set(names):
        folder = Path(opened.enter_context(tempfile.TemporaryDirectory(prefix="flowcert-fuzz-")))
        urls = opened.enter_context(start_stack(folder)).urls
        engine = open_engine(urls.database_url)
        opened.callback(engine.dispose)
        upgrade(engine)
        made = {"results": Results(engine, urls.database_url, urls.broker_url), "messages": Messages(urls.broker_url)}
    made |= {target.name: target for target in (Videos(), Weights(), JobFiles(), Lists(), Names())}
    return {name: made[name] for name in names}


def _fuzz(targets: dict[str, Target], seed: int, seconds: float) -> dict[str, Tried]:
    """Try cases of every target until the time is over."""
    tried = {name: Tried() for name in targets}
    cases, spent = dict.fromkeys(targets, 0), dict.fromkeys(targets, 0.0)
    begun = told = time.monotonic()
    while time.monotonic() - begun < seconds:
        name = min(targets, key=lambda name: spent[name] / SHARES[name])
        since = time.monotonic()
        while time.monotonic() - since < _SLICE:
            try_case(targets[name], seed, cases[name], tried[name])
            cases[name] += 1
        spent[name] += time.monotonic() - since
        if time.monotonic() - told > _LINE_SECONDS:
            told = time.monotonic()
            counts = ", ".join(f"{name} {one.attempts:,}" for name, one in tried.items())
            found = sum(len(one.findings) for one in tried.values())
            _tell(f"{told - begun:.0f} of {seconds:.0f} s: {counts}; {found} findings")
    return tried


def _tell(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def _write(out: Path, tried: dict[str, Tried], given: argparse.Namespace) -> None:
    document = {
        "seed": given.seed,
        "minutes": given.minutes,
        "machine": {"cores": os.cpu_count(), "python": platform.python_version(), "system": platform.platform()},
        "targets": {
            name: {
                "tried": one.attempts, "outcomes": dict(one.outcomes), "kinds": dict(sorted(one.kinds.items())),
                "slowest_seconds": round(one.slowest, 3), "slowest_case": one.slowest_case, "findings": one.findings,
            }
            for name, one in tried.items()
        },
    }  # fmt: skip
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
