"""A report's pictures are the clip: each tile one frame, without loss, and of a size that a page can bear."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from common.errors import InputError
from common.features import parse_partition
from common.jobspec import FarnebackSpec, JobSpec, ModelSpec
from common.settings import Settings
from worker.clip import PreparedClip, prepare_clip
from worker.entry.draw_report import Question, answer
from worker.features import label_regions
from worker.picture import Outcome, Scene, draw_change, draw_clip, sprite
from worker.picture.panel import flow_panel
from worker.picture.regions import region_panel
from worker.replay import Change

MOST = 10_000_000
BEFORE, AFTER = Outcome("stay", 1.0), Outcome("go", -1.0)


def make_clip(partition: str, frames: int = 6, height: int = 24, width: int = 32) -> PreparedClip:
    rng = np.random.default_rng(5)
    images = rng.integers(0, 256, (frames, height, width, 3), dtype=np.uint8)
    flow = rng.normal(size=(frames - 1, 2, height, width)).astype(np.float32)
    return PreparedClip(images, flow, label_regions(parse_partition(partition), flow))


def make_spec(sampling, features="grid:2x2", **changes) -> JobSpec:
    model = ModelSpec(name="cnn_lstm", weights="/none.pt", classes=("stay", "go"), sha256="0" * 64)
    fields = {
        "dataset": "/d", "model": model, "sampling": sampling, "flow": FarnebackSpec(), "features": features,
        "norm": "L2", "tau": "1", "radius": "40",
    }  # fmt: skip
    return JobSpec.model_validate({**fields, **changes})


def tiles(folder: Path, drawn: dict, name: str) -> list[np.ndarray]:
    """Tiles of a written sprite, RGB."""
    said = drawn["sprites"][name]
    sheet = cv2.imread(str(folder / said["file"]))[:, :, ::-1]
    assert sheet.size / 3 <= 2 * sprite.MOST_PIXELS
    high, wide, columns = said["height"], said["width"], said["columns"]
    return [sheet[n // columns * high :, n % columns * wide :][:high, :wide] for n in range(said["tiles"])]


def assert_like(found: np.ndarray, expected: np.ndarray) -> None:
    """Drawings are written with some loss."""
    assert np.abs(found.astype(int) - expected).mean() < 8


def test_every_tile_is_a_frame_to_the_last_bit(sampling, tmp_path):
    clip = make_clip("grid:2x2")
    # A step of the second flow's first region, and a real move of the last flow's last one.
    scene = Scene(
        Path("/v/a.avi"), "stay", make_spec(sampling), clip, Change.real(((8, 1.5), (39, -0.25))), BEFORE, AFTER
    )
    drawn = draw_clip(clip, tmp_path)
    change = draw_change(scene, tmp_path)
    assert np.array_equal(tiles(tmp_path, drawn, "original"), clip.frames)
    changed = tiles(tmp_path, change, "changed")
    assert np.array_equal(changed, np.round(255 * scene.changed.clip(0, 1)))
    differs = [bool((old != new).any()) for old, new in zip(clip.frames, changed, strict=True)]
    assert differs == [False, False, True, False, False, True]
    assert change["changed_frames"] == [3, 6]
    grey = [int(np.ptp(tile)) for tile in tiles(tmp_path, change, "difference")]
    assert [size > 1 for size in grey] == differs
    moved = tiles(tmp_path, change, "moves")
    assert moved[0].shape == (192, 256, 3)
    assert_like(moved[2], flow_panel(scene, 2, 192))
    json.dumps({**drawn, **change}, allow_nan=False)


def test_regions_that_are_the_same_in_every_flow_are_drawn_once(tmp_path):
    drawn = draw_clip(make_clip("grid:2x2"), tmp_path)
    (panel,) = tiles(tmp_path, drawn, "regions")
    assert drawn["regions"] == [4] * 5
    # A border runs along both middles, and the four parts have colours of their own.
    assert panel[96].mean() < panel[90].mean() - 80
    assert panel[:, 128].mean() < panel[:, 122].mean() - 80
    means = [part.reshape(-1, 3).mean(axis=0) for half in np.split(panel, 2) for part in np.split(half, 2, axis=1)]
    assert min(np.abs(one - other).max() for n, one in enumerate(means) for other in means[:n]) > 10

    clip = make_clip("superpixel:5")
    drawn = draw_clip(clip, tmp_path)
    blank, *panels = tiles(tmp_path, drawn, "regions")
    assert (blank > 250).mean() > 0.95
    assert len(panels) == 5
    assert_like(panels[3], region_panel(clip.frames[4] / 255.0, clip.labels[3], 192))


@pytest.mark.parametrize("features", ["global", "pixel"])
def test_one_region_and_one_a_pixel_can_be_drawn(features, tmp_path):
    (panel,) = tiles(tmp_path, draw_clip(make_clip(features), tmp_path), "regions")
    assert (np.ptp(panel.astype(int), axis=2).mean() > 10) == (features == "pixel")


def test_long_and_large_clips_are_made_smaller(monkeypatch, tmp_path):
    monkeypatch.setattr(sprite, "MOST_PIXELS", 2000)
    clip = make_clip("grid:2x2", frames=10)
    drawn = draw_clip(clip, tmp_path)
    found = tiles(tmp_path, drawn, "original")
    assert len(found) == 10
    assert all(tile.shape == (12, 16, 3) for tile in found)
    expected = [frame.reshape(12, 2, 16, 2, 3).mean(axis=(1, 3)) for frame in clip.frames]
    assert np.abs(np.array(found) - expected).max() < 2
    with pytest.raises(InputError, match="cannot be written"):
        draw_clip(clip, tmp_path / "none")


def test_the_program_draws_what_was_certified_and_nothing_else(write_video, sampling, tmp_path):
    video, spec = write_video(), make_spec(sampling)
    clip = prepare_clip(video, sampling, spec.flow, spec.partition, MOST)
    settings = Settings(data_dir=tmp_path / "data")
    asked = {
        "spec": spec.model_dump(mode="json"), "video": str(video), "label": "stay", "digest": clip.digest,
        "point": [[3, -1]], "moves": None, "before": vars(BEFORE), "after": vars(AFTER), "out": str(tmp_path),
    }  # fmt: skip

    def ask(**changes) -> dict:
        return answer(Question.model_validate_json(json.dumps({**asked, **changes})), settings)

    drawn = ask()
    assert (drawn["problem"], drawn["frames"], drawn["changed_frames"]) == (None, 8, [2])
    assert set(drawn["sprites"]) == {"original", "changed", "difference", "moves", "regions"}
    assert np.array_equal(tiles(tmp_path, drawn, "original"), clip.frames)
    assert set(ask(point=None, after=None)["sprites"]) == {"original", "regions"}
    assert "changed since it was prepared" in ask(digest="f" * 64)["problem"]
    # Regions by saliency are those of a model, whose weights are not here.
    salient = make_spec(sampling, features="saliency:3").model_dump(mode="json")
    assert "none.pt" in ask(spec=salient)["problem"]
    video.unlink()
    assert str(video) in ask()["problem"]
