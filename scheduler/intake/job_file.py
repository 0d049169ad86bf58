"""Decides what a configuration file may be: a short YAML mapping of fields, without anchors and anything deep."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from common.errors import InputError
from common.printable import visible
from scheduler.intake.paths import read_text

#: Bytes of a file, and levels of lists in lists, above which it is no configuration.
MOST_BYTES, MOST_DEPTH = 2**16, 32


class _Loader(yaml.SafeLoader):
    """Reads plain YAML; a few lines of anchors could stand for more than any memory holds."""

    _depth = 0

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            raise yaml.YAMLError("anchors and aliases are not read")
        self._depth += 1
        if self._depth > MOST_DEPTH:
            raise yaml.YAMLError(f"more than {MOST_DEPTH} levels of nesting are not read")
        try:
            return super().compose_node(parent, index)
        finally:
            self._depth -= 1


def read_job_file(file: Path) -> dict[str, Any]:
    """Read fields and their values, as they are written; raises InputError, in one line that names the file."""
    try:
        text = read_text(file, MOST_BYTES, "configuration")
    except OSError as error:
        raise InputError("--config", f"{file}: cannot be read ({error.strerror})") from error
    try:
        document = yaml.load(text, Loader=_Loader)  # noqa: S506 - a SafeLoader that reads less.
    # What is no date, number or text where YAML's syntax says so raises whatever Python's own types do.
    except (yaml.YAMLError, AttributeError, OverflowError, RecursionError, ValueError) as error:
        reason = visible(" ".join(str(error).split()))[:300]
        raise InputError("--config", f"{file}: is not YAML: {reason}") from error
    if not isinstance(document, dict) or not all(isinstance(key, str) for key in document):
        raise InputError("--config", f"{file}: must hold fields and their values, such as 'tau: 1'")
    return document
