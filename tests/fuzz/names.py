"""Fuzzes what is shown of names: on a terminal nothing acts, and on a page nothing becomes markup."""

from __future__ import annotations

import html.parser
import io
import json
from random import Random
from typing import Self

from scheduler.cli.output import SafeConsole
from scheduler.report.encode import to_json
from scheduler.report.pages.render import _environment
from scheduler.report.tables import workers_table
from tests.fuzz.mutate import ODD, odd_text
from tests.fuzz.target import Plain, check_shown


class _Tags(html.parser.HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        assert not any(name.startswith("on") for name, _ in attrs), attrs


class Names(Plain):
    """Tables, JSON and pages of rows whose every text is hostile: what a worker's login can bring about."""

    name = "names"

    def __enter__(self) -> Self:
        self._page = _environment().from_string('<p title="{{ text }}">{{ text }}</p>')
        return self

    def attempt(self, rng: Random) -> list[tuple[str, str]]:
        """Show one text in one way."""
        text = odd_text(rng, rng.choice(("clip", *ODD)))
        kind = rng.choice(("terminal", "page", "JSON"))
        if kind == "terminal":
            screen = io.StringIO()
            row = {
                "worker": text, "gpu": text, "device": text, "seconds_since_beat": 1.0, "task": 1, "kind": "explore",
                "video": text.replace("\0", "?") + "/A/b.avi", "returned": 1, "attempts": 1, "busy_seconds": 1.0,
            }  # fmt: skip
            SafeConsole(file=screen, width=120, color_system=None).print(workers_table([row]))
            check_shown(screen.getvalue())
        elif kind == "page":
            page = self._page.render(text=text)
            reader = _Tags()
            reader.feed(page)
            assert reader.tags == ["p"], page[:300]
            check_shown(page)
        else:
            written = to_json([{"text": text}])
            check_shown(written)
            assert written.isascii()
            assert json.loads(written) == [{"text": text}]
        return [(kind, "accepted")]
