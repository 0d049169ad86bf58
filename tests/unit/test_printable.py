"""Names come from elsewhere: on a terminal, in a log or on a page nothing in them acts."""

import io
import logging

import pytest
import structlog

from common.printable import brief, is_printable, visible
from common.telemetry import configure_logs
from scheduler.cli import output
from scheduler.report.pages.render import _environment
from scheduler.report.tables import results_table

ACTING = [
    "\x1b[31mred\x1b[0m",
    "\x1b]0;title\x07",
    "\x9b2J",
    "a\rb",
    "\u202eiva.exe",
    "\u2066x",
    "x\u2028y",
    "\x7f",
    "\udcff",
]
HARMLESS = ["clip.avi", "Żółć", "漢字", "שלום", "\U0001f469\u200d\U0001f52c", "a b", "[red]", "<b>", "\u00a0"]


@pytest.mark.parametrize("text", ACTING)
def test_what_acts_is_written_as_escapes(text: str) -> None:
    assert not is_printable(text)
    assert is_printable(visible(text))
    assert visible(visible(text)) == visible(text)


@pytest.mark.parametrize("text", HARMLESS)
def test_other_scripts_are_left_as_they_are(text: str) -> None:
    assert is_printable(text)
    assert visible(text) == text


def test_a_quoted_value_is_short_whatever_it_is() -> None:
    deep: list[object] = []
    for _ in range(100_000):
        deep = [deep]
    for value in ("x" * 10_000, 10**10_000, deep, {"a": ["\x1b"] * 1000}):
        assert len(brief(value)) < 300
        assert is_printable(brief(value))
    assert brief("a\x1b") == r"'a\x1b'"


@pytest.mark.parametrize("text", ACTING[:-1])
def test_nothing_acts_on_a_terminal(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    screen, errors = io.StringIO(), io.StringIO()
    monkeypatch.setattr(screen, "isatty", lambda: True)
    monkeypatch.setattr("sys.stdout", screen)
    monkeypatch.setattr("sys.stderr", errors)
    row = {
        "norm": "L2", "video": f"/data/A/{text}.avi", "label": text, "predicted": text, "verdict": "failed",
        "reason": text, "fmsr_lower": None, "fmsr_upper": None, "fmsr_lower_guarantee": None, "msr_lower": None,
        "msr_upper": None, "msr_lower_guarantee": None, "points_explored": 0, "points_total": None,
        "points_needed": None, "seconds": 0.0,
    }  # fmt: skip
    output.SafeConsole(file=screen, color_system=None, width=200).print(results_table([row]))
    output.note(f"not certified: {text}")
    output.say(f"{text},1\n")
    configure_logs(as_json=False, level="INFO")
    try:
        structlog.get_logger().warning("clip_failed", video=text, reason=text)
        logging.getLogger("other").warning("said %s", text)
    finally:
        logging.getLogger().handlers = []
        structlog.reset_defaults()
    shown = screen.getvalue() + errors.getvalue()
    assert visible(text) in errors.getvalue()
    assert visible(text) in screen.getvalue()
    assert all(is_printable(line) for line in shown.split("\n"))


def test_a_file_gets_what_there_is(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.StringIO()
    monkeypatch.setattr("sys.stdout", stream)
    output.say("a\x1bb,1\r\n")
    assert stream.getvalue() == "a\x1bb,1\r\n"


@pytest.mark.parametrize("text", ["<script>alert(1)</script>", '" onload="x', "\u202eiva", "\x1b[2J"])
def test_nothing_acts_on_a_page(text: str) -> None:
    page = _environment().from_string('<p title="{{ text }}">{{ text }}</p>').render(text=text)
    assert text not in page
    assert page.count("<") == 2
    assert is_printable(page)
