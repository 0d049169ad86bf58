"""Holds the runbook to the code: it has an entry for each event that a process logs as a warning or error."""

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
RUNBOOK = (ROOT / "docs/operations.md").read_text(encoding="utf-8")
PACKAGES = ("common", "migrations", "scheduler", "worker")
SOURCES = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))
#: Severities that ask somebody to look.
SEVERE = {"warning", "error", "exception", "critical"}


def sections(heading: str) -> list[str]:
    """Headings of the third level below one of the second."""
    (part,) = re.findall(rf"^## {heading}\n(.*?)(?=^## |\Z)", RUNBOOK, re.MULTILINE | re.DOTALL)
    return re.findall(r"^### (.+)$", part, re.MULTILINE)


@cache
def nodes() -> list[ast.AST]:
    return [node for path in SOURCES for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))]


def logged() -> Iterator[tuple[str, ast.expr]]:
    """Severity and event of each call of a structlog logger: ``log``, ``_log``, or one that was just made."""
    for node in nodes():
        if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.args):
            continue
        logger = node.func.value
        made = isinstance(logger, ast.Call) and ast.unparse(logger.func) == "structlog.get_logger"
        if node.func.attr in SEVERE | {"info", "debug"} and (made or ast.unparse(logger) in ("log", "_log")):
            yield node.func.attr, node.args[0]


def test_each_event_that_asks_somebody_to_look_has_its_entry() -> None:
    events = [event.value for severity, event in logged() if severity in SEVERE and isinstance(event, ast.Constant)]
    entries = [event for title in sections("What a log says") for event in re.findall(r"`([^`]+)`", title)]
    assert len(entries) == len(set(entries))
    assert set(entries) == set(events)


def test_events_are_written_out_and_loggers_have_the_usual_names() -> None:
    assert all(isinstance(event, ast.Constant) for _, event in logged())
    loggers = {
        ast.unparse(node.targets[0])
        for node in nodes()
        if isinstance(node, ast.Assign) and ast.unparse(node.value).startswith("structlog.get_logger")
    }
    assert loggers == {"log", "_log"}


@pytest.mark.parametrize("title", sections("What a command or a clip says"))
def test_messages_are_those_of_the_program(title: str) -> None:
    texts = [node.value for node in nodes() if isinstance(node, ast.Constant) and isinstance(node.value, str)]
    (message,) = re.findall(r"^`([^`]+)`$", title)
    for piece in message.split("…"):
        assert any(piece in text for text in texts), piece


def test_commands_are_those_of_the_program() -> None:
    reference = (ROOT / "docs/cli.md").read_text(encoding="utf-8")
    commands = dict(re.findall(r"^## flowcert ([a-z ]+)\n(.*?)(?=^## |\Z)", reference, re.MULTILINE | re.DOTALL))
    named = re.findall(r"flowcert ((?:db )?[a-z]+)([^`|#\n]*)", RUNBOOK)
    assert len(named) > 10
    for command, rest in named:
        for option in re.findall(r"--[a-z-]+", rest):
            assert f"`{option}" in commands[command], (command, option)
        assert command in commands
