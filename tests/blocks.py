"""Decides which blocks of a document are run, and how: what a reader pastes into a shell, and files that they save."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

#: Languages of the blocks that are run, and of those that are shown only.
RUN, SHOWN = ("sh", "python"), ("text",)


@dataclass(frozen=True)
class Block:
    """A fenced block of a document."""

    document: Path
    line: int  #: of the fence, from 1
    language: str  #: as written behind the fence; empty where nothing is
    text: str

    def __str__(self) -> str:
        return f"{self.document.name}:{self.line}"

    @property
    def file(self) -> str | None:
        """The file that the reader saves the block as, which its first line names; None where it is run itself."""
        named = re.match(r"# ([\w.]+\.py)\n", self.text)
        return named[1] if named and self.language == "python" else None

    def command(self, python: str) -> list[str]:
        """What runs the block; it ends with the first command that fails."""
        return [python, "-c", self.text] if self.language == "python" else ["bash", "-euo", "pipefail", "-c", self.text]


def blocks_of(document: Path) -> list[Block]:
    """The fenced blocks of a document, in order."""
    text = document.read_text(encoding="utf-8")
    return [
        Block(document, text.count("\n", 0, match.start()) + 1, match[1], match[2])
        for match in re.finditer(r"^```([^\n`]*)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    ]
