"""Decides how the repository's documents become a site: which pages it has, and where their links lead.

The documents are written to be read in the repository, so they link to each other by paths in it. The site has
``docs/`` as its root. Whatever pages link to outside that folder comes along under its own path: Markdown files as
pages, others as they are. MkDocs itself then checks every link.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[2]
#: Page of the folder of decisions, which lists them; the folder itself holds nothing but decisions.
_DECISIONS = "decisions/index.md"
_LINK = re.compile(r"(?<=\]\()(?!https?:|#)([^)\s#]+)")
_FENCE = re.compile(r"^ *```")
#: A bar within code in a table: GitHub takes the backslash away, Python's Markdown leaves it.
_CELL_CODE = re.compile(r"\\\|(?=[^`]*`(?:[^`]*`[^`]*`)*[^`]*$)")
_ITEM = re.compile(r"^(- |\d+\. )")


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """List all decisions where the navigation has an empty list of them."""
    decisions = sorted(f"decisions/{path.name}" for path in (ROOT / "docs/decisions").glob("*.md"))
    for entry in config.nav or []:
        for title, pages in entry.items():
            if pages == []:
                entry[title] = [_DECISIONS, *decisions]
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the README, what pages link to outside ``docs/``, and the list of decisions."""
    files.append(File.generated(config, _DECISIONS, content=_decisions()))
    waiting = ["README.md", *(f"docs/{file.src_uri}" for file in files.documentation_pages() if file.src_dir)]
    for path in waiting:
        if _in_site(path) not in files.src_uris:
            files.append(File(path, str(ROOT), config.site_dir, config.use_directory_urls))
        if path.endswith(".md"):
            outside = [target for target in _targets(path) if not target.startswith("docs/")]
            waiting += [target for target in outside if target not in waiting and (ROOT / target).is_file()]
    return files


def on_page_markdown(markdown: str, page: Page, **_: object) -> str:
    """Turn paths of the repository into paths of the site, and its Markdown into what Python's reads alike."""
    here = page.file.src_uri
    folder = posixpath.dirname(_in_repository(here))

    def moved(link: re.Match[str]) -> str:
        target = _in_site(posixpath.normpath(posixpath.join(folder, link[0])))
        return posixpath.relpath(target, posixpath.dirname(here) or ".")

    lines: list[str] = []
    for line, fenced in _lines(markdown):
        if fenced:
            lines.append(line)
            continue
        if _ITEM.match(line) and lines and lines[-1] and not re.match(r"[ |]|- |\d+\. ", lines[-1]):
            lines.append("")  # A list may follow a paragraph at once in the repository's view, not here.
        lines.append(_LINK.sub(moved, _CELL_CODE.sub("|", line) if line.startswith("|") else line))
    return "\n".join(lines)


def _decisions() -> str:
    """The page that lists the decisions by their titles."""
    lines = ["# Decisions", "", "Why it is built like this: context, decision and consequences of each.", ""]
    for path in sorted((ROOT / "docs/decisions").glob("*.md")):
        title = path.read_text(encoding="utf-8").partition("\n")[0].removeprefix("# ")
        lines.append(f"- [{title}]({path.name})")
    return "\n".join(lines)


def _targets(path: str) -> list[str]:
    """What a page of the repository links to, as paths in the repository."""
    text = (ROOT / path).read_text(encoding="utf-8")
    links = [link[0] for line, fenced in _lines(text) if not fenced for link in _LINK.finditer(line)]
    return [posixpath.normpath(posixpath.join(posixpath.dirname(path), link)) for link in links]


def _lines(markdown: str) -> Iterator[tuple[str, bool]]:
    """Each line, and whether it belongs to a fenced block."""
    fenced = False
    for line in markdown.split("\n"):
        border = _FENCE.match(line) is not None
        yield line, fenced or border
        fenced ^= border


def _in_site(path: str) -> str:
    """Where something of the repository is in the site."""
    inside = path.removeprefix("docs/")
    return _DECISIONS if inside == posixpath.dirname(_DECISIONS) else inside


def _in_repository(uri: str) -> str:
    """Where a page of the site is in the repository."""
    return f"docs/{uri}" if (ROOT / "docs" / uri).exists() or uri == _DECISIONS else uri
