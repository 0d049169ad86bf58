"""The documented commands are those there are."""

from pathlib import Path

from scheduler.cli.reference import reference


def test_the_reference_is_up_to_date():
    written = Path(__file__).parents[3] / "docs" / "cli.md"
    assert written.read_text() == reference(), "run: python -m scheduler.cli.reference > docs/cli.md"
