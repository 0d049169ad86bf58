"""Harms a running service in many ways for minutes and measures what that costs: nothing may be lost, doubled or wrong.

Real PostgreSQL, Valkey, schedulers and workers certify tiny games, whose truth is known by brute force, job after job,
while faults of every kind are drawn from a seeded dice. The same seed gives the same faults at the same times; what
each of them meets is up to the machine. The seed is printed and kept.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

from benchmarks.chaos_checks import Watch
from benchmarks.chaos_faults import KINDS, Fault
from benchmarks.chaos_fleet import Fleet
from benchmarks.report import write_report
from common.settings import Settings
from migrations.schema import upgrade
from scheduler.intake.dataset import FoundClip
from scheduler.intake.submit import submit
from tests.tiny import TinyGame, draw_games

#: Points a clip may cost: more than any tiny game has.
BUDGET = 10_000_000
#: Time everything left gets to end once nothing is harmed any more, in seconds.
_PEACE_SECONDS = 240.0
#: How many jobs are unfinished at any time, so that every fault meets work.
_JOBS_AT_ONCE = 4


@dataclass(frozen=True)
class Plan:
    """What a campaign does: fixed by its seed."""

    seed: int
    faults: list[tuple[float, Fault, int]]  #: pause before it in seconds, kind, and the seed of its own dice


def make_plan(seed: int, many: int, mean_pause: float) -> Plan:
    """Draw a campaign: every kind in turn by its weight, in random order, with random pauses."""
    dice = Random(seed)
    kinds = list(KINDS)
    # Each kind once at least; the rest by weight.
    drawn = kinds[:many] + dice.choices(kinds, [KINDS[kind] for kind in kinds], k=max(0, many - len(kinds)))
    dice.shuffle(drawn)
    return Plan(seed, [(dice.uniform(0, 2 * mean_pause), kind, dice.getrandbits(32)) for kind in drawn])


class Campaign:
    """One fleet, a stream of jobs, and a plan of faults."""

    def __init__(self, fleet: Fleet, games: list[TinyGame], watch: Watch) -> None:
        self._fleet, self._games, self._watch = fleet, games, watch
        self.done: Counter[str] = Counter()

    def run(self, plan: Plan) -> None:
        """Do every fault, then wait until all jobs have ended; what has not by then is lost."""
        for pause, fault, seed in plan.faults:
            self._live(pause)
            killed = fault(self._fleet, Random(seed))
            self._watch.orphaned(killed)
            self.done[fault.__name__] += 1
        limit = time.monotonic() + _PEACE_SECONDS
        while self._running() and time.monotonic() < limit:
            self._live(0.5, feed=False)

    def _live(self, seconds: float, *, feed: bool = True) -> None:
        """Let the service work for a while: processes are started again, jobs kept coming, and rules checked."""
        limit = time.monotonic() + seconds
        while True:
            self._fleet.tend()
            if feed:
                self._feed()
            self._watch.look()
            left = limit - time.monotonic()
            if left <= 0:
                return
            time.sleep(min(left, 0.5))

    def _feed(self) -> None:
        """Submit games, each time as a job of its own, so that there is always work."""
        for _ in range(_JOBS_AT_ONCE - self._running()):
            number = len(self._watch.truths)
            game = self._games[number % len(self._games)]
            spec = game.spec.model_copy(update={"dataset": f"{game.spec.dataset}#{number}"})
            job = submit(self._fleet.engine, spec, [FoundClip(game.label, str(game.video))], BUDGET).job_id
            self._watch.truths[job] = game.truth

    def _running(self) -> int:
        return int(self._fleet.rows("SELECT count(*) FROM jobs WHERE status = 'running'")[0][0])


def run_campaign(folder: Path, plan: Plan, *, lease_seconds: float, workers: int) -> dict[str, Any]:
    """Run a campaign in an empty folder; returns its report, whose ``problems`` say what ``lost`` and others count."""
    begun = time.monotonic()
    (folder / "games").mkdir(parents=True)
    games = list(draw_games(Random(plan.seed), folder / "games", folder / "cache", 9))
    settings = {
        "lease_seconds": lease_seconds, "beat_seconds": lease_seconds / 8, "task_seconds": 0.5, "task_points": 60,
        "batch_points": 4, "tick_seconds": 0.5,
        # A task may meet any number of faults, none of which is its own.
        "max_attempts": 1000,
    }  # fmt: skip
    with Fleet(folder, workers, keeping=True, **settings) as fleet:
        upgrade(fleet.engine)
        fleet.start()
        watch = Watch(fleet, Settings().window, lease_seconds)
        campaign = Campaign(fleet, games, watch)
        campaign.run(plan)
        watch.look()
        lost = watch.lost()
        attempts = fleet.rows("SELECT coalesce(outcome, 'open') AS outcome, count(*) AS many FROM attempts GROUP BY 1")
    return {
        "faults": sum(campaign.done.values()),
        "kinds": len(campaign.done),
        "lost": len(lost),
        "duplicated": len(watch.doubled),
        "wrong": len(watch.wrong),
        "reissue_seconds_max": max(watch.reissue_seconds, default=0.0),
        "reissues": len(watch.reissue_seconds),
        "over_window": len(watch.over_window),
        "jobs": len(watch.truths),
        "seed": plan.seed,
        "lease_seconds": lease_seconds,
        "minutes": (time.monotonic() - begun) / 60,
        **{f"fault_{kind}": many for kind, many in sorted(campaign.done.items())},
        **{f"attempts_{row.outcome}": row.many for row in attempts},
        "problems": lost + watch.doubled + watch.wrong + watch.over_window,
    }


def reissue_with_default_lease(folder: Path) -> float:
    """Seconds from the kill of a worker at work to the announcement of its task, with the settings as they come."""
    lease = Settings().lease_seconds
    (folder / "games").mkdir(parents=True)
    (game,) = draw_games(Random(1), folder / "games", folder / "cache", 1)
    with Fleet(folder, 1, keeping=False, task_points=1, batch_points=1) as fleet:
        upgrade(fleet.engine)
        fleet.start()
        watch = Watch(fleet, Settings().window, lease)
        submit(fleet.engine, game.spec, [FoundClip(game.label, str(game.video))], BUDGET)
        (worker,) = fleet.of("worker")
        while not fleet.rows("SELECT 1 FROM tasks WHERE state = 'leased'"):
            time.sleep(0.01)
        child = fleet.child(worker)
        fleet.kill(worker)
        watch.orphaned(child)
        if not watch.waiting:
            raise RuntimeError("the worker had handed its task in before it was killed; run it again")
        fleet.tend()
        while watch.waiting:
            time.sleep(0.2)
            watch.mind_orphans()
        return watch.reissue_seconds[0]


def main() -> int:
    """Run the campaign of the command line; status 1 when it lost, doubled or got anything wrong."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--seed", type=int, default=int.from_bytes(os.urandom(3)))
    parser.add_argument("--faults", type=int, default=220)
    parser.add_argument("--lease", type=float, default=4.0, help="seconds")
    arguments = parser.parse_args()
    print(f"seed {arguments.seed}", flush=True)
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(prefix="flowcert-chaos-", dir=memory if memory.is_dir() else None) as name:
        plan = make_plan(arguments.seed, arguments.faults, mean_pause=1.5)
        report = run_campaign(Path(name) / "campaign", plan, lease_seconds=arguments.lease, workers=2)
        report["reissue_seconds_over_lease"] = report["reissue_seconds_max"] - arguments.lease
        report["reissue_seconds_default_lease"] = reissue_with_default_lease(Path(name) / "default")
    problems = report.pop("problems")
    write_report("chaos", report)
    print("\n".join(problems) or "nothing lost, doubled or wrong")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
