"""What the demo prints at its end can be pasted: the words are those of commands that exist, and paths are whole."""

import shlex
import sys
from pathlib import Path

from common.settings import Settings
from scheduler.cli.demo import next_steps
from scheduler.cli.main import app


def commands(folder: Path, environment: dict[str, str]) -> list[list[str]]:
    lines = next_steps(Settings(data_dir=folder), 3, environment)
    return [shlex.split(line) for line in lines if line.startswith("  ")]


def test_the_commands_are_as_short_as_they_can_be(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "executable", str(tmp_path / ".venv/bin/python"))
    given = {"FLOWCERT_DATA_DIR": str(tmp_path / "build/demo")}
    assert commands(tmp_path / "build/demo", given) == [
        ["FLOWCERT_DATA_DIR=build/demo", ".venv/bin/flowcert", "report", "3", "--out", "build/demo/report"],
        [".venv/bin/python", "-m", "http.server", "--bind", "127.0.0.1", "--directory", "build/demo/report", "0"],
    ]
    assert "report" in {command.name or command.callback.__name__ for command in app.registered_commands}


def test_paths_elsewhere_and_with_spaces_stay_whole(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "executable", "/opt/a b/python")
    report, serve = commands(Path("/home/a b"), {})
    assert report == ["/opt/a b/flowcert", "report", "3", "--out", "/home/a b/report"]
    assert serve[-2:] == ["/home/a b/report", "0"]
