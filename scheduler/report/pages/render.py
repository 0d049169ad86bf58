"""Decides how a report is written: every page by a template that escapes whatever it is given."""

from __future__ import annotations

import math
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from common.printable import visible
from common.vocab import Guarantee
from scheduler.intake.official import short_name
from scheduler.report.pages.chart import Chart
from scheduler.report.pages.clip import ClipPage
from scheduler.report.pages.provenance import Provenance, hash_lines
from scheduler.report.rows import Row
from scheduler.report.summary import CONFIDENCE, RESAMPLES, VERDICTS, Summary
from scheduler.report.summary_table import interval_text, share_text
from scheduler.report.tables import at_least, at_most, bounds, distance, msr_bounds, points_text

_TEMPLATES = Path(__file__).with_name("templates")
#: Files that every page refers to.
_ASSETS = ("report.css", "report.js")
#: Clips whose witness is shown on the first page: those of the least change.
_SHOWN = 4

#: What each label claims, in the words of docs/guarantees.md.
CLAIMS = {
    Guarantee.WITNESS: "this change makes the model give another class; it was replayed from the raw video",
    Guarantee.GRID: "no grid point that costs less is adversarial: every one of them was evaluated. Says nothing of"
    " changes between grid points",
    Guarantee.CONTINUOUS: "no real change within this radius is adversarial, by bounds of the whole computation",
    Guarantee.LIPSCHITZ_ESTIMATED: "the same, if a constant that was estimated from samples is right: no proof",
    Guarantee.LIPSCHITZ_ASSUMED: "the same, if the constant that the user gave is right",
}


def write_report(
    folder: Path, summary: Summary, pages: Sequence[ClipPage], chart: Chart | None, provenance: Provenance, model: Row
) -> None:
    """Write all pages and what they refer to, but for the clips' pictures; raises OSError where that fails.

    ``model`` is the specification's part about the model.
    """
    environment = _environment()
    common = {"summary": summary, "job": summary.job, "claims": CLAIMS, "norm": summary.job["norm"]}
    index = environment.get_template("index.html")
    closest = sorted((page for page in pages if "changed" in page.picture["sprites"]), key=_distance)[:_SHOWN]
    text = index.render(**common, pages=pages, closest=closest, chart=chart, provenance=provenance, base="")
    _write(folder / "index.html", text)
    (folder / "clips").mkdir(exist_ok=True)
    template = environment.get_template("clip.html")
    for number, page in enumerate(pages):
        before, after = pages[number - 1] if number else None, pages[number + 1] if number + 1 < len(pages) else None
        _write(folder / page.file, template.render(**common, page=page, before=before, after=after, base="../"))
    for name in _ASSETS:
        shutil.copyfile(_TEMPLATES / name, folder / name)
    _write(folder / "sha256.txt", hash_lines(model, [page.row for page in pages]))


def _environment() -> Environment:
    environment = Environment(
        autoescape=True, loader=FileSystemLoader(_TEMPLATES), undefined=StrictUndefined, trim_blocks=True,
        lstrip_blocks=True, finalize=_shown,
    )  # fmt: skip
    said: tuple[Callable[..., Any], ...] = (
        at_least, at_most, bounds, distance, interval_text, msr_bounds, points_text, share_text, short_name,
    )  # fmt: skip
    environment.globals.update({function.__name__: function for function in said})
    environment.globals.update(infinity=math.inf, verdicts=VERDICTS, resamples=RESAMPLES, confidence=CONFIDENCE)
    return environment


def _shown(value: Any) -> Any:
    """Text without characters that act on whoever reads it; what was made markup by the templates stays."""
    return visible(value) if type(value) is str else value


def _distance(page: ClipPage) -> float:
    return float(page.witness["distance"]) if page.witness is not None else 0.0


def _write(path: Path, text: str) -> None:
    # A file name may hold bytes that are no text; they are shown as marks.
    path.write_text(text, encoding="utf-8", errors="replace")
