"""Gives integration tests the command line, run in the test's own process."""

import sys

import pytest

from scheduler.cli import main as program


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
