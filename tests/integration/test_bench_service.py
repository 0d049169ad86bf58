"""The service benchmark's simulated workers speak the protocol of real ones, and its figures are measured."""

from pathlib import Path

import pytest

from benchmarks import service
from benchmarks.bench_stack import Bench
from benchmarks.synthetic import clips_of_game, spec_of_game
from scheduler.intake.submit import submit


def test_a_few_hundred_subtrees_are_merged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service, "FOLDER", tmp_path)
    figures = service.measure_merges(400)
    assert figures["subtrees"] >= 400
    assert figures["merges_per_second"] > 0
    assert 0 < figures["broker_messages_per_worker_max"] <= 4
    assert 20 < figures["scheduler_peak_mib"] < 500


def test_workers_that_take_their_time_decide_every_clip(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service, "FOLDER", tmp_path)
    monkeypatch.setattr(service, "SPEED", 500_000.0)
    figures = service.measure_efficiency(2)
    assert 0 < figures["parallel_efficiency_64"] <= figures["parallel_efficiency_64_of_lpt"] <= 1
    assert figures["efficiency_tasks"] > 4


def test_a_backlog_is_planned_and_merged(tmp_path: Path) -> None:
    with Bench(tmp_path / "backlog") as bench:
        bench.scheduler.kill()
        figures = service.measure_backlog(bench.engine, 1000)
    assert figures["backlog_results"] == 1000
    assert figures["backlog_merges_per_second"] > 0


def test_a_clip_that_fails_stops_the_benchmark(tmp_path: Path) -> None:
    with Bench(tmp_path / "failing") as bench:
        submit(bench.engine, spec_of_game("failing", 1), clips_of_game("failing", 1), 1)
        bench.hold()
        with bench.engine.begin() as connection:
            connection.exec_driver_sql(
                "UPDATE videos SET status = 'failed', verdict = 'failed', reason = 'x', finished_at = now()"
            )
        with pytest.raises(RuntimeError, match="a clip failed"):
            bench.hold()
