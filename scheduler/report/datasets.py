"""Decides how the check of a dataset is shown: as one JSON object, and as tables on a terminal."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from rich.console import RenderableType
from rich.markup import escape
from rich.table import Table

from scheduler.intake.check import Need
from scheduler.intake.findings import ClassCount, Fault, Finding, ListCount
from scheduler.intake.official import short_name
from scheduler.report.tables import columned

#: Clips and groups that are named on a terminal, of each kind; JSON names them all.
_NAMED = 20


@dataclass(frozen=True)
class Checked:
    """What a check found."""

    dataset: str
    split: str | None
    need: Need
    clips: int
    skipped: int  #: clips of the split whose class the dataset does not have
    findings: Sequence[Finding]
    classes: Sequence[ClassCount]
    lists: Sequence[ListCount]

    @property
    def fine(self) -> bool:
        """Whether nothing is wrong."""
        return not self.findings and not any(count.shared for count in self.lists)


def checked_json(checked: Checked) -> str:
    """Write a check as a JSON object."""
    document: dict[str, Any] = {
        "dataset": checked.dataset, "split": checked.split, **checked.need.document(), "clips": checked.clips,
        "skipped": checked.skipped, "fine": checked.fine,
        "problems": [
            {"video": found.clip.path, "label": found.clip.label, "fault": found.fault, "problem": found.problem}
            for found in checked.findings
        ],
        "classes": [
            {"label": count.label, "clips": count.clips, "groups": count.groups, **count.faults}
            for count in checked.classes
        ],
        "lists": [
            {
                "list": count.name, "entries": count.entries, "clips": count.clips, "groups": count.groups,
                "other": count.other, "shared_groups": len(count.shared), "shared": list(count.shared),
            }
            for count in checked.lists
        ],
    }  # fmt: skip
    return json.dumps(document, indent=2, allow_nan=False)


def checked_tables(checked: Checked) -> Iterator[RenderableType]:
    """Counts by class and by official list, and what is wrong, a table each."""
    yield _table(
        ("class", "clips", "groups", *Fault),
        [
            (count.label, count.clips, count.groups, *(count.faults[fault] or "" for fault in Fault))
            for count in checked.classes
        ],
    )
    if checked.lists:
        yield _table(
            ("official list", "entries", "clips here", "groups", "groups shared", "with"),
            [
                (count.name, count.entries, count.clips, count.groups, *_shared(count))
                for count in checked.lists
            ],
        )  # fmt: skip
    wrong = [row for fault in Fault for row in _named(checked.findings, fault)]
    wrong += [(count.name, "leaks", _leak(count)) for count in checked.lists if count.shared]
    if wrong:
        yield _table(("clip", "fault", "problem"), wrong, right=False)


def _shared(count: ListCount) -> tuple[object, object]:
    return ("", "") if count.other is None else (len(count.shared), count.other)


def _named(findings: Sequence[Finding], fault: Fault) -> list[tuple[object, ...]]:
    """The first clips of one fault, and how many more there are."""
    of = [found for found in findings if found.fault == fault]
    rows: list[tuple[object, ...]] = [(short_name(found.clip.path), fault, found.problem) for found in of[:_NAMED]]
    return rows + ([("…", fault, f"{len(of) - _NAMED:,} more; --json lists them")] if len(of) > _NAMED else [])


def _leak(count: ListCount) -> str:
    named = ", ".join(count.shared[:_NAMED]) + (", …" if len(count.shared) > _NAMED else "")
    return f"shares {len(count.shared):,} groups with {count.other}: {named}"


def _table(columns: Sequence[str], rows: Sequence[tuple[object, ...]], *, right: bool = True) -> Table:
    table = columned(columns[0], *(f">{column}" if right else column for column in columns[1:]))
    for row in rows:
        table.add_row(*(escape(f"{value:,}" if isinstance(value, int) else str(value)) for value in row))
    return table
