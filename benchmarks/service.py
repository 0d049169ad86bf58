"""Measures the service with 64 simulated workers, real servers and a real scheduler: ``python -m benchmarks.service``.

Four parts, each on servers of its own: a million subtrees merged as fast as they go; planning and merging with nobody
else there; tasks of realistic length, for the share of the workers' time that is spent in them; and as many clips as
UCF101 has, for how soon something is known of one. What each figure means stands in docs/performance.md.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from heapq import heapify, heapreplace
from pathlib import Path

from benchmarks.backlog import measure_backlog
from benchmarks.bench_stack import Bench, Sample, Watch, resident_mib
from benchmarks.intake import CLIPS, make_dataset, submit_dataset
from benchmarks.report import write_report
from benchmarks.simulation import Crew, at_work, drawn, steady
from benchmarks.synthetic import clips_of_game, spec_of_game
from scheduler.intake.submit import submit

WORKERS = 64
TASK_SECONDS = 10.0
#: Points of a task while none takes any time: what the scheduler gives when it knows nothing.
TASK_POINTS = 200
#: Clips of the long job, of three moves each: a million tasks a clip, so that it does not end before it is over.
HOT_CLIPS = 8
#: The job of realistic length: clips of two moves each, and points a second of one worker.
STEADY_CLIPS, SPEED = 96, 7000.0
BUDGET = 10**15
FOLDER = Path("build/bench-service")


def main() -> None:
    """Run the parts asked for, all by default, and write ``build/bench/service.json``."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--subtrees", type=int, default=1_000_000, help="subtrees to merge")
    parser.add_argument("--clips", type=int, default=STEADY_CLIPS, help="clips of the job of realistic length")
    options = parser.parse_args()
    figures: dict[str, float] = {"workers": WORKERS, "load_at_start": os.getloadavg()[0]}
    figures |= measure_merges(options.subtrees)
    with Bench(FOLDER / "backlog", tick_seconds=3600) as bench:
        bench.scheduler.kill()
        figures |= measure_backlog(bench.engine, max(1000, options.subtrees // 20))
    figures |= measure_efficiency(options.clips)
    figures |= measure_first_bound()
    figures["load_at_end"] = os.getloadavg()[0]
    write_report("service", figures)


def measure_merges(subtrees: int) -> dict[str, float]:
    """Merge so many subtrees of a few clips, whose tasks take no time."""
    with Bench(FOLDER / "merges", task_seconds=TASK_SECONDS, window=4) as bench:
        submit(bench.engine, spec_of_game("merges", 3), clips_of_game("merges", HOT_CLIPS), BUDGET)
        crews = [
            Crew(bench.database_url, bench.broker(), names, steady(TASK_SECONDS, TASK_POINTS), asleep=False)
            for names in (_names(0, WORKERS // 2), _names(WORKERS // 2, WORKERS))
        ]
        before, idle = 2 * HOT_CLIPS, bench.cpu_seconds()
        with Watch(bench) as watch, at_work(crews):
            said = time.monotonic()
            while watch.finished < subtrees + before:
                time.sleep(0.2)
                if time.monotonic() - said > 10:
                    said = time.monotonic()
                    rate = watch.finished / (said - watch.begun)
                    print(f"{watch.finished:,} of {subtrees:,} subtrees merged, {rate:,.0f} a second", flush=True)
                    bench.hold()
            spent = bench.cpu_seconds()
        bench.hold()
        peak = resident_mib(bench.scheduler.pid, "VmHWM")
        merged = bench.value("SELECT count(*) FROM tasks WHERE kind = 'explore' AND state = 'merged'")
        results = bench.value("SELECT count(*) FROM results") - before
        rounds = sorted(bench.rounds())
    if not subtrees <= merged <= results:
        raise RuntimeError(f"{merged} subtrees were merged of {results} results, not {subtrees}")
    return {
        "merges_per_second": _rate(watch.samples, before, subtrees + before),
        "subtrees": merged,
        "scheduler_peak_mib": peak,
        **_through(watch.samples, subtrees),
        "broker_messages_per_worker_max": watch.peak_messages / WORKERS,
        "round_seconds_p50": statistics.median(rounds),
        "round_seconds_p95": rounds[int(0.95 * len(rounds))],
        **{f"{part}_cpu_us_per_subtree": (spent[part] - idle[part]) / merged * 1e6 for part in spent},
    }


def _names(first: int, last: int) -> list[str]:
    return [f"worker-{number:02}" for number in range(first, last)]


def _rate(samples: list[Sample], first: int, last: int) -> float:
    """Results merged a second between two counts of finished tasks."""
    counts = [(sample.at, sample.finished) for sample in samples if sample.finished is not None]
    begin = max((count for count in counts if count[1] <= first), default=counts[0])
    end = next((count for count in counts if count[1] >= last), counts[-1])
    return (end[1] - begin[1]) / (end[0] - begin[0])


def _through(samples: list[Sample], subtrees: int) -> dict[str, float]:
    """Rate of each tenth of the run, and the scheduler's memory at its end."""
    found: dict[str, float] = {}
    for tenth in range(1, 11):
        first, last = subtrees * (tenth - 1) // 10, subtrees * tenth // 10
        found[f"merges_per_second_tenth_{tenth}"] = _rate(samples, first, last)
        at = next((s.at for s in samples if s.finished is not None and s.finished >= last), samples[-1].at)
        found[f"scheduler_mib_after_tenth_{tenth}"] = max(s.resident_mib for s in samples if at - 2 < s.at <= at)
    return found


def measure_efficiency(clips: int) -> dict[str, float]:
    """Complete a level of two moves in each clip, with tasks that take their time."""
    with Bench(FOLDER / "efficiency", task_seconds=TASK_SECONDS) as bench:
        crews = [
            Crew(bench.database_url, bench.broker(), [name], drawn(SPEED, seed), asleep=True)
            for seed, name in enumerate(_names(0, WORKERS))
        ]
        submit(bench.engine, spec_of_game("efficiency", 2), clips_of_game("efficiency", clips), BUDGET)
        said = 0.0
        with Watch(bench) as watch, at_work(crews):
            while bench.value("SELECT count(*) FROM jobs WHERE status = 'running'"):
                time.sleep(0.5)
                if time.monotonic() - said > 10:
                    said = time.monotonic()
                    done = bench.value("SELECT count(*) FROM videos WHERE finished_at IS NOT NULL")
                    print(f"{done} of {clips} clips decided, {watch.finished:,} tasks", flush=True)
                    bench.hold()
        robust = bench.value("SELECT count(*) FROM videos WHERE verdict = 'robust'")
    if robust != clips:
        raise RuntimeError(f"{robust} of {clips} clips are robust")
    spans = sorted(span for crew in crews for span in crew.spans)
    spent = sum(seconds for _, seconds in spans)
    wall = max(begin + seconds for begin, seconds in spans) - spans[0][0]
    return {
        "parallel_efficiency_64": spent / (WORKERS * wall),
        "parallel_efficiency_64_of_lpt": spent / (WORKERS * _lpt([seconds for _, seconds in spans])),
        "efficiency_tasks": len(spans),
        "efficiency_mean_task_seconds": spent / len(spans),
        "efficiency_wall_seconds": wall,
        "efficiency_broker_messages_per_worker_max": watch.peak_messages / WORKERS,
    }


def _lpt(seconds: list[float]) -> float:
    """Length of the schedule that gives the longest task left to the first free worker."""
    free = [0.0] * WORKERS
    heapify(free)
    for task in sorted(seconds, reverse=True):
        heapreplace(free, free[0] + task)
    return max(free)


def measure_first_bound() -> dict[str, float]:
    """Submit as many clips as UCF101 has by the command line; how long until something is known of one, and of all."""
    with tempfile.TemporaryDirectory(prefix="flowcert-bench-") as home, Bench(FOLDER / "many") as bench:
        dataset, weights, _ = make_dataset(Path(home))
        crews = [
            Crew(bench.database_url, bench.broker(), names, lambda *_: 0.1, asleep=False)
            for names in (_names(0, WORKERS // 2), _names(WORKERS // 2, WORKERS))
        ]
        with Watch(bench) as watch, at_work(crews):
            begun = time.monotonic()
            servers = {"FLOWCERT_DATABASE_URL": bench.database_url, "FLOWCERT_BROKER_URL": bench.broker_url}
            submit_dataset(dataset, weights, **servers)
            submitted = time.monotonic() - begun
            # Everything is asked of the views, as people and programs do.
            while not bench.value("SELECT exists(SELECT FROM video_bounds WHERE lower_cost IS NOT NULL)"):
                time.sleep(0.1)
            first = time.monotonic() - begun
            while (prepared := bench.value("SELECT count(*) FROM bounds")) < CLIPS:
                print(f"{prepared:,} of {CLIPS:,} clips prepared", flush=True)
                bench.hold()
                time.sleep(5)
            every = time.monotonic() - begun
    return {
        "first_bound_seconds": first,
        "many_clips": CLIPS,
        "many_clips_submit_seconds": submitted,
        "many_clips_prepared_seconds": every,
        "many_clips_broker_messages_per_worker_max": watch.peak_messages / WORKERS,
    }


if __name__ == "__main__":
    main()
