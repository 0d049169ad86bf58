"""Reports of finished jobs on real videos: a clip plays, on and off the grid, and a changed video is not drawn."""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path
from random import Random

import pytest

from tests.chromium import Page
from tests.tiny import write_video


def _clip_page(folder: Path) -> Path:
    (path,) = (folder / "clips").glob("*.html")
    return path


def test_a_clip_is_drawn_unless_its_video_has_changed(flowcert, certified, tmp_path):
    (job, game), (other, robust) = certified
    for number, clip, said in ((job, game, "by a change of flow"), (other, robust, "not on the grid")):
        status, output, notes = flowcert("report", number, "--out", tmp_path / "report")
        assert (status, output) == (0, ""), notes
        assert "1 of 1 clips drawn" in notes
        assert "no pictures" not in notes
        text = _clip_page(tmp_path / "report").read_text(encoding="utf-8")
        assert said in text
        drawn = sorted(path.name for path in (tmp_path / "report" / "clips").glob("*/*"))
        assert drawn == ["changed.png", "difference.png", "moves.webp", "original.png", "regions.webp"]
        hashes = (tmp_path / "report" / "sha256.txt").read_text()
        assert f"{sha256(clip.video.read_bytes()).hexdigest()}  {clip.video}\n" in hashes
    sampling = game.spec.sampling
    write_video(game.video, Random(9), frames=9, height=sampling.height, width=sampling.width)
    status, _, notes = flowcert("report", job, "--out", tmp_path / "report")
    assert status == 0
    assert "1 of 1 clips have no pictures; their pages say why" in notes
    text = _clip_page(tmp_path / "report").read_text(encoding="utf-8")
    assert "file changed since it was prepared" in text
    assert "Player I picks flow" in text
    assert list((tmp_path / "report" / "clips").glob("*/*")) == []


def _shown(page: Page) -> list[str]:
    """The frame that the first player says it shows, and where each of its pictures stands."""
    return page.run(
        "(() => { const player = document.querySelector('.player');"
        " return [player.querySelector('output').textContent,"
        " ...Array.from(player.querySelectorAll('.sprite img')).map(img => img.style.transform)]; })()"
    )


def test_a_witness_plays_in_a_browser(flowcert, certified, tmp_path, page):
    (job, game), _ = certified
    status, _, notes = flowcert("report", job, "--out", tmp_path / "report")
    assert status == 0, notes
    page.look(width=1200)
    page.open(_clip_page(tmp_path / "report"))
    images = "Array.from(document.querySelectorAll('.player .sprite img'))"
    page.run(f"{images}.forEach(image => image.loading = 'eager')")
    page.wait(f"{images}.every(image => image.complete && image.naturalWidth > 0)")
    frames = game.spec.sampling.frames
    first = _shown(page)[0]
    page.wait(f"document.querySelector('.player output').textContent !== {first!r}")
    assert page.run("document.querySelector('.play').textContent") == "Pause"
    page.click(".play")
    assert page.run("document.querySelector('.play').textContent") == "Play"

    # Each frame has a tile of its own, which fills the box.
    seen = set()
    for frame in range(1, frames + 1):
        page.run(
            "(() => { const slider = document.querySelector('.player input');"
            f" slider.value = {frame}; slider.dispatchEvent(new Event('input')); }})()"
        )
        said, *places = _shown(page)
        assert said == f"{frame} of {frames}"
        assert len(set(places)) == 1
        seen.add(places[0])
    assert len(seen) == frames
    box = page.run("(b => [b.width, b.height])(document.querySelector('.sprite').getBoundingClientRect())")
    sheet = page.run("(b => [b.width, b.height])(document.querySelector('.sprite img').getBoundingClientRect())")
    columns, rows = (int(page.run(f"document.querySelector('.sprite').dataset.{name}")) for name in ("columns", "rows"))
    assert sheet == pytest.approx([columns * box[0], rows * box[1]], rel=0.02)

    # Who wants less motion has to start it.
    page.look(width=1200, motion="reduce")
    page.open(_clip_page(tmp_path / "report"))
    assert page.run("document.querySelector('.play').textContent") == "Play"
    page.open(tmp_path / "report" / "index.html")
    assert page.run("document.querySelectorAll('#closest ~ .cards .player').length") == 1
    page.click("#closest ~ .cards a")
    page.wait("document.querySelector('#witness') !== null")
    assert page.problems == []
