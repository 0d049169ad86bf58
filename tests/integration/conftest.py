"""Gives integration tests the command line in the test's own process, two finished jobs to ask about, and a browser."""

import sys
from random import Random

import pytest

from scheduler.cli import main as program
from tests.chromium import find_chromium, open_page


@pytest.fixture
def in_process(monkeypatch, capfd):
    """Run a command in this process; returns status, standard output and standard error."""
    monkeypatch.setattr(program.signal, "signal", lambda *_: None)

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["flowcert", *map(str, arguments)])
        capfd.readouterr()
        status = program.main()
        return status, *capfd.readouterr()

    return run


@pytest.fixture
def flowcert(database_url, broker_url, monkeypatch, in_process):
    """The same on the test's database and broker."""
    monkeypatch.setenv("FLOWCERT_DATABASE_URL", database_url)
    monkeypatch.setenv("FLOWCERT_BROKER_URL", broker_url)
    return in_process


@pytest.fixture
def certified(engine, database_url, broker_url, tmp_path, monkeypatch):
    """Two finished jobs of a clip each: one has a witness on the grid, the other a real one only."""
    # Loaded late: most tests have no use for torch.
    from tests.harness import Service
    from tests.tiny import draw_games

    monkeypatch.setenv("FLOWCERT_DATA_DIR", str(tmp_path / "data"))
    rng = Random(1)
    service = Service(engine, database_url, broker_url, tmp_path / "data", rng)
    games = list(draw_games(rng, tmp_path, service.settings.cache_dir, 6))
    chosen = [next(game for game in games if (game.truth.fmsr is not None) == wanted) for wanted in (True, False)]
    jobs = [service.submit(game.spec, game.video, game.label, 500) for game in chosen]
    service.run()
    return list(zip(jobs, chosen, strict=True))


@pytest.fixture
def page():
    """An empty page of a headless browser."""
    program = find_chromium()
    if program is None:
        pytest.skip("there is no Chromium on PATH; CHROMIUM names one")
    with open_page(program) as opened:
        yield opened
