"""Decides how benchmark figures are shown and kept: a table on the terminal, a JSON file under build/bench."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from rich.console import Console
from rich.table import Table


def write_report(name: str, figures: Mapping[str, float]) -> None:
    """Print the figures and write ``build/bench/<name>.json``; refuses NaN and infinity."""
    table = Table(title=name)
    table.add_column("figure")
    table.add_column("value", justify="right")
    for key, value in figures.items():
        table.add_row(key, f"{value:,.4g}" if isinstance(value, float) else f"{value:,}")
    Console(width=100).print(table)
    target = Path("build/bench") / f"{name}.json"
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(json.dumps(figures, indent=2, allow_nan=False) + "\n")
