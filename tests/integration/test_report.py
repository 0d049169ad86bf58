"""``flowcert report`` on clips of every verdict: what its pages hold, that no name harms them, and that they sort."""

from __future__ import annotations

import json
from html.parser import HTMLParser
from pathlib import Path

import pytest
import sqlalchemy as sa

from common.celery_app import make_app
from common.jobspec import ModelSpec
from common.vocab import Guarantee, TaskKind
from scheduler.intake.dataset import FoundClip
from scheduler.intake.submit import submit
from tests.chromium import Page
from tests.rows import Desk, attacked, bounded, honest, make_spec, prepared, real_witness, witness_at

HOSTILE = "<script>alert('label')</script>\"&"
#: By the first letter of a clip's name: a solved, b robust, c misclassified, d open with a real witness, f failed.
NAMES = {"a": HOSTILE, "b": HOSTILE, "c": HOSTILE, "d": "run", "f": "run", "g": "run"}
VOID = {"meta", "link", "img", "input", "br", "line", "path"}


class Document(HTMLParser):
    """Elements and text of a page; refuses one whose tags do not close in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None], str]] = []
        self.open: list[int] = []
        self.feed(text)
        self.close()
        assert not self.open

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attributes), ""))
        if tag not in VOID:
            self.open.append(len(self.elements) - 1)

    def handle_startendtag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attributes), ""))

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.elements[self.open.pop()][0] == tag

    def handle_data(self, data: str) -> None:
        for place in self.open:
            tag, attributes, text = self.elements[place]
            self.elements[place] = (tag, attributes, text + data)

    def all(self, tag: str, **attributes: str) -> list[str]:
        """Texts of elements."""
        wanted = {name.rstrip("_"): value for name, value in attributes.items()}
        return [
            " ".join(text.split())
            for found, given, text in self.elements
            if found == tag and all(given.get(name) == value for name, value in wanted.items())
        ]


@pytest.fixture
def desk(engine: sa.Engine, database_url: str, broker_url: str) -> Desk:
    return Desk(engine, database_url, make_app(broker_url, task_seconds=1.0))


@pytest.fixture
def job(desk: Desk, tmp_path: Path) -> int:
    model = ModelSpec(name="cnn_lstm", weights=str(tmp_path / "gone.pt"), classes=(HOSTILE, "run"), sha256="0" * 64)
    spec = make_spec(
        model=model, norm="L2", radius="8", continuous=True, lipschitz="0.1", dataset="/v/<img src=x onerror=alert(1)>"
    )
    clips = [FoundClip(label, f"/videos/<b>{name}</b>.avi") for name, label in NAMES.items()]
    made = submit(desk.engine, spec, clips, 1_000_000).job_id
    desk.pace.sizes[made] = desk.task_points
    answered = True
    while answered:
        desk.round()
        answered = sum(_answer(desk, task) for task in desk.ready()) > 0
    return made


def _answer(desk: Desk, task: int) -> bool:
    claim = desk.claim(task)
    name = Path(claim.video.replace("</", "<")).stem[3]
    if name == "f":
        desk.ann.give_up(claim, f"{claim.video}: is <i>empty</i>", final=True)
        return True
    if name == "g":
        return False
    if claim.kind == TaskKind.PREPARE:
        result = prepared(predicted="run" if name in "cd" else HOSTILE, clip_digest=f"{ord(name):064x}")
    elif claim.kind == TaskKind.ATTACK:
        grid = witness_at(((2, 2),), norm="L2") if name == "a" else None
        result = attacked(grid, real_witness((0, 5.0), (3, -0.25), norm="L2") if name == "d" else None)
    elif claim.kind == TaskKind.BOUND:
        result = bounded({"a": 1.5, "b": 4.0, "d": 0.0}[name])
    elif name == "d":
        return False
    else:
        result = honest(claim, lambda point: name == "a" and point == ((2, 2),))
    desk.ann.append(claim, result, 0.5)
    return True


@pytest.fixture
def written(flowcert, job: int, tmp_path: Path) -> Path:
    """Folder of the job's report."""
    status, output, notes = flowcert("report", job, "--out", tmp_path / "report")
    assert (status, output) == (0, ""), notes
    assert f"written: {tmp_path / 'report' / 'index.html'}" in notes
    assert "gone.pt: the weights are gone" in notes
    assert "6 of 6 videos are gone, the first of them /videos/<b>a</b>.avi" in notes
    assert "6 of 6 clips have no pictures; their pages say why" in notes
    return tmp_path / "report"


def _pages(folder: Path) -> list[Path]:
    return [folder / "index.html", *sorted((folder / "clips").glob("*.html"))]


def test_every_page_is_whole_and_refers_to_nothing_but_the_report(written: Path) -> None:
    pages = _pages(written)
    assert len(pages) == 7
    for path in pages:
        document = Document(path.read_text(encoding="utf-8"))
        assert document.elements[0][:2] == ("html", {"lang": "en"})
        named = [given["id"] for _, given, _ in document.elements if "id" in given]
        assert len(named) == len(set(named))
        for tag, given, _ in document.elements:
            assert not any(name.startswith("on") for name in given), (tag, given)
            target = given.get("src") or given.get("href")
            if target is None or target == "data:,":
                continue
            if target.startswith("#"):
                assert target[1:] in named
            else:
                assert "//" not in target
                assert (path.parent / target).resolve().is_relative_to(written)
                assert (path.parent / target).is_file(), target


def test_names_cannot_harm_a_page(written: Path) -> None:
    for path in _pages(written):
        text = path.read_text(encoding="utf-8")
        document = Document(text)
        assert [given.get("src") for tag, given, _ in document.elements if tag == "script"] == [
            "report.js" if path.name == "index.html" else "../report.js"
        ]
        assert not document.all("script")[0]
        assert "onerror=alert" not in "".join(str(given) for tag, given, _ in document.elements if tag != "a")
        assert {tag for tag, _, text in document.elements if tag == "b" and len(text.strip()) == 1} == set()
    assert Document((written / "index.html").read_text()).all("th", scope="row").count(HOSTILE) == 1


def test_the_first_page_sums_up(written: Path) -> None:
    document = Document((written / "index.html").read_text(encoding="utf-8"))
    tiles = dict(zip(document.all("dt"), document.all("dd"), strict=False))
    assert tiles["accuracy"] == "75.0 %"
    text = " ".join(document.all("body")[0].split())
    for said in ("3 of 4 evaluated clips", "not evaluated yet1of 6 clips", "the weights are gone", "10,000 resamples"):
        assert said in text
    assert "1 of 4 (25.0 %)" in text
    assert sum("FMSR: certified" in line for line in document.all("li")) == 1
    assert "lipschitz:assumed" in " ".join(document.all("li"))
    # Each number that is a bound has what it is worth beside it.
    labels = {str(label) for label in Guarantee}
    body = (written / "index.html").read_text(encoding="utf-8")
    start = body.index('<table class="sortable" id="clip-table">')
    table = Document(body[start : body.index("</table>", start) + len("</table>")])
    cells = [cell for cell in table.all("td", class_="number") if cell not in ("?", "∞")]
    bounds = [cell for cell in cells if " " in cell]
    assert len(bounds) == 2 + 1 + 3 + 2
    assert all(cell.split()[1] in labels for cell in bounds)


def test_a_clip_without_pictures_says_why(written: Path, desk: Desk) -> None:
    numbers = dict(desk.rows("SELECT substr(path, 12, 1), id FROM videos"))
    pages = {
        name: " ".join(Document((written / f"clips/{number}.html").read_text()).all("main")[0].split())
        for name, number in numbers.items()
    }
    assert "There are no pictures of this clip: /videos/<b>a</b>.avi is gone" in pages["a"]
    assert "no pictures of this clip: it was never prepared" in pages["f"]
    assert pages["f"].startswith("Nothing is claimed of this clip: is <i>empty</i>")
    assert f"takes the unchanged clip for run, and its label is {HOSTILE}: there is no right answer" in pages["c"]
    assert pages["g"].startswith("This clip was not prepared yet")
    assert "Player I picks flow 2 (frame 2 to 3); Player II moves the whole frame right by 2 px" in pages["a"]
    assert "(guarantee grid)" in pages["a"]
    assert "It is a real change, not on the grid" in pages["d"]
    assert "right by 5 px" in pages["d"]
    assert "FMSR at least grid FMSR at most witness MSR at least continuous MSR at most witness" in pages["a"]
    assert "Player" not in pages["b"]


def test_the_hashes_are_as_sha256sum_reads_them(written: Path) -> None:
    lines = (written / "sha256.txt").read_text().splitlines()
    assert lines[0].startswith("0" * 64 + "  /")
    assert lines[0].endswith("/gone.pt")


def test_a_report_is_written_anew_and_nothing_else_is_overwritten(flowcert, written: Path, job: int) -> None:
    (written / "notes.txt").write_text("mine")
    (written / "clips" / "99.html").write_text("old")
    assert flowcert("report", job, "--out", written)[0] == 0
    assert (written / "notes.txt").read_text() == "mine"
    assert not (written / "clips" / "99.html").exists()
    assert sorted(path.name for path in written.iterdir()) == [
        ".flowcert-report", "clips", "index.html", "notes.txt", "report.css", "report.js", "sha256.txt",
    ]  # fmt: skip
    other = written.parent / "other"
    other.mkdir()
    (other / "thesis.tex").write_text("years of work")
    status, _, notes = flowcert("report", job, "--out", other)
    assert status == 2
    assert notes == f"error: --out: {other}: is neither empty nor an earlier report; give another folder\n"
    file = other / "thesis.tex"
    assert flowcert("report", job, "--out", file)[2].startswith(f"error: --out: {file}: cannot be written to")
    assert flowcert("report", "77", "--out", other / "new")[2].startswith("error: JOB: there is no job '77'")
    assert not (other / "new").exists()
    assert [path.name for path in other.iterdir()] == ["thesis.tex"]


def _column(page: Page, heading: str) -> list[str]:
    return page.run(
        "(() => { const table = document.querySelector('#clip-table');"
        " const place = Array.from(table.tHead.rows[0].cells)"
        f".findIndex(cell => cell.textContent.trim() === {json.dumps(heading)});"
        " const cells = Array.from(table.tBodies[0].rows).map(row => row.cells[place]);"
        " return cells.map(cell => cell.textContent.trim().split(/\\s/)[0]); })()"
    )


def test_the_clips_sort_by_mouse_and_by_keyboard(written: Path, page: Page) -> None:
    page.look(width=1200)
    page.open(written / "index.html")
    lower = "#clip-table th:nth-child(6)"
    page.click(f"{lower} button")
    # What is not known comes last, whatever the order.
    assert _column(page, "FMSR ≥") == ["0", "3.464", "8", "?", "?", "?"]
    assert page.run(f"document.querySelector('{lower}').getAttribute('aria-sort')") == "ascending"
    page.click(f"{lower} button")
    assert _column(page, "FMSR ≥") == ["8", "3.464", "0", "?", "?", "?"]
    assert page.run("document.querySelectorAll('#clip-table [aria-sort]').length") == 1

    page.run("document.querySelector('#clip-table th button').focus()")
    page.press("Enter", "\r")
    assert _column(page, "clip") == [f"<b>{name}</b>.avi" for name in "abcdfg"]
    page.press(" ", " ")
    assert _column(page, "clip") == [f"<b>{name}</b>.avi" for name in "gfdcba"]
    page.press("Tab")
    page.press("Tab")
    page.press("Tab")
    assert page.run("document.activeElement.textContent") == "verdict"
    page.press("Enter", "\r")
    assert _column(page, "verdict") == ["failed", "misclassified", "open", "open", "robust", "solved"]
    assert page.run("document.querySelector('#clip-table [aria-sort]').textContent.trim()") == "verdict"
    assert page.problems == []


def test_the_theme_is_the_readers_or_a_chosen_one(written: Path, page: Page) -> None:
    background = "getComputedStyle(document.body).backgroundColor"
    page.look(width=1200, theme="dark")
    page.open(written / "index.html")
    dark = page.run(background)
    page.look(width=1200, theme="light")
    light = page.run(background)
    assert dark != light
    for chosen, colour in (("light", light), ("dark", dark), ("auto", light)):
        page.click("button.theme")
        assert page.run("document.querySelector('button.theme').textContent") == f"Theme: {chosen}"
        assert page.run(background) == colour
    assert page.problems == []


def test_no_page_is_wider_than_a_phone(written: Path, page: Page) -> None:
    page.look(width=360)
    for path in _pages(written):
        page.open(path)
        assert page.run("document.documentElement.scrollWidth") <= 360
    assert page.problems == []
    assert page.run("typeof window.alert") == "function"
