"""The documents build as a site without a word of complaint, and it can be read, and searched, without a network."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.chromium import find_chromium, open_page

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(folder)]
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    built = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert (built.returncode, built.stdout + built.stderr) == (0, "")
    return folder


def test_everything_that_a_page_loads_or_links_to_is_there(site: Path) -> None:
    pages = [page for page in site.rglob("*.html") if page.name != "404.html"]
    assert len(pages) > 50
    for page in pages:
        loads = re.findall(r'<(a|img|link|script)\s[^>]*?(?:href|src)="?([^"\s>]+)', page.read_text("utf-8"))
        for tag, target in loads:
            if tag == "a" and target.startswith("https://"):
                continue
            file = target.partition("#")[0]
            assert not file or (page.parent / file).is_file(), f"{page.name} has {target}"


def test_pages_are_those_of_the_repository(site: Path) -> None:
    first = (site / "index.html").read_text("utf-8")
    assert "Flowcert certifies video classifiers" in first
    assert 'href="examples/MODEL_CARD.html"' in first
    decision = (site / "decisions/0001-subtree-is-a-node-and-an-interval-of-items.html").read_text("utf-8")
    # A list right after a paragraph, and a bar within code in a table, are read as the repository's view reads them.
    assert "<p><strong>Consequences.</strong></p>\n<ul>" in decision
    assert "<code>--gpus N,N|all</code>" in (site / "cli.html").read_text("utf-8")
    assert not list(site.rglob("*.py*"))


def test_the_search_finds_a_page_that_was_opened_as_a_file(site: Path) -> None:
    program = find_chromium()
    if program is None:
        pytest.skip("there is no Chromium on PATH; CHROMIUM names one")
    with open_page(program) as page:
        page.look(width=1280)
        page.open(site / "index.html")
        page.click(".md-search__input")
        page.send("Input.insertText", text="lease_expired")
        page.send("Input.dispatchKeyEvent", type="keyUp", key="d")  # The page looks at its input then.
        page.wait("document.querySelector('.md-search-result__link[href$=\"#lease_expired\"]') !== null")
        assert page.problems == []
