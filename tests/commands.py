"""Reads commands out of configuration files and holds them to the command line: words, options and arguments."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence

from typer.main import get_command

from scheduler.cli.main import app


def parse(words: Sequence[str]) -> str:
    """Parse ``flowcert ...`` as the program would, without running it; returns the command's full name."""
    program, *rest = words
    assert program == "flowcert"
    command, names = get_command(app), ["flowcert"]
    while hasattr(command, "commands"):
        assert rest, f"{words} names no command"
        assert rest[0] in command.commands, f"{rest[0]} is no command of {' '.join(names)}"
        command = command.commands[rest[0]]
        names.append(rest.pop(0))
    # Refuses unknown options, missing and superfluous arguments.
    command.make_context(" ".join(names), list(rest))
    return " ".join(names)


def parse_script(script: str) -> list[str]:
    """Parse every ``flowcert ...`` of a shell script; returns their names in order."""
    found = re.findall(r"(?:^|[|;&]|until|exec)\s*(flowcert [^|;&\n]+)", script, re.MULTILINE)
    assert len(found) == len(re.findall(r"\bflowcert (?=[a-z])", script)), script
    return [parse(shlex.split(line)) for line in found]
