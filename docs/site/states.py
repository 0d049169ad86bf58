"""Draws docs/pictures/states-*.svg from the tables of docs/state-machine.md: ``python docs/site/states.py``.

It needs Graphviz's program ``dot``, which is why the pictures are kept. A test holds them to the tables.
"""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

DOCS = Path(__file__).parents[1]
#: Where nothing is before: the first column's word, and how it is drawn.
START = "–"
#: Words of the tables for several states of a clip: any of these, and the one of them that it had.
UNFINISHED, BACK, MEMBERS = "unfinished", "where it was", ("pending", "prepared", "exploring")
#: Colours by class, for light and for dark; Graphviz writes those of print.
_STYLE = """<style>
  .card { fill: #ffffff; stroke: #d5dbe3; }
  .node :is(path, polygon) { fill: #eef3f7; stroke: #60758a; stroke-width: 1.3; }
  .end :is(path, polygon) { fill: #d9efeb; stroke: #00796b; }
  .cluster polygon { fill: none; stroke: #60758a; stroke-dasharray: 5 4; }
  .edge path { stroke: #44566a; stroke-width: 1.3; }
  .edge polygon, .start ellipse { fill: #44566a; stroke: #44566a; }
  text { fill: #1d2b3a; font-family: system-ui, "DejaVu Sans", sans-serif; }
  @media (prefers-color-scheme: dark) {
    .card { fill: #1b222b; stroke: #3a4654; }
    .node :is(path, polygon) { fill: #26313d; stroke: #8da2b8; }
    .end :is(path, polygon) { fill: #123c38; stroke: #4db6ac; }
    .cluster polygon { stroke: #8da2b8; }
    .edge path { stroke: #a9bccf; }
    .edge polygon, .start ellipse { fill: #a9bccf; stroke: #a9bccf; }
    text { fill: #e6edf4; }
  }
</style>
"""


def transitions(text: str) -> dict[str, list[tuple[str, str]]]:
    """From and to of each transition in the tables, by the section's first word in lower case."""
    found: dict[str, list[tuple[str, str]]] = {}
    for title, section in re.findall(r"^## (\w+)(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL):
        edges = found.setdefault(title.lower(), [])
        for sources, target in re.findall(r"^\| (?!from)([^|]+) → ([^|]+) \|", section, re.MULTILINE):
            edges += [(source.strip("` "), target.strip("` ")) for source in sources.split(",")]
    return {title: list(dict.fromkeys(edges)) for title, edges in found.items()}


def picture(edges: list[tuple[str, str]]) -> str:
    """The transitions as an SVG document, each with an id, ``from→to``."""
    sources = {source for source, _ in edges}
    lines = [f'"{START}" [shape=point, width=0.16, class=start]']
    lines += [f'"{target}" [class=end]' for _, target in edges if target not in {*sources, BACK}]
    if UNFINISHED in sources:
        lines.append(f"subgraph cluster {{ label={UNFINISHED}; {'; '.join(MEMBERS)} }}")
    for source, target in edges:
        options = f'id="{source}→{target}"'
        if source == UNFINISHED:
            options += ", ltail=cluster"
        if target == BACK:
            options += ", lhead=cluster, constraint=false"
        lines.append(f'"{_anchor(source)}" -> "{_anchor(target)}" [{options}]')
    style = "rankdir=LR; compound=true; nodesep=0.35; ranksep=0.6; bgcolor=transparent; pad=0.2"
    dot = f"digraph {{ {style}; node [shape=box, style=rounded]; {'; '.join(lines)} }}"
    drawn = subprocess.run(["dot", "-Tsvg"], input=dot, capture_output=True, text=True, check=True).stdout
    svg = re.sub(r"^.*?(?=<svg)|<!--.*?-->\n?|<title>.*?</title>\n?", "", drawn, flags=re.DOTALL)
    card = '<rect class="card" width="100%" height="100%" rx="8"/>\n'
    return re.sub(r"(<svg.*?>\n)", rf"\1{_STYLE}{card}", svg, count=1, flags=re.DOTALL)


def _anchor(state: str) -> str:
    """The state that an edge of all unfinished ones is drawn at; Graphviz cuts it off at their frame."""
    return MEMBERS[1] if state in (UNFINISHED, BACK) else state


if __name__ == "__main__":
    for title, edges in transitions((DOCS / "state-machine.md").read_text(encoding="utf-8")).items():
        (DOCS / f"pictures/states-{title}.svg").write_text(picture(edges), encoding="utf-8")
