"""What is drawn of a witness is what the replay saw: whole, in place, and readable by players and programs."""

import cv2
import numpy as np
import pytest
import torch

from common.errors import InputError, IntegrityError
from common.jobspec import FarnebackSpec, JobSpec, ModelSpec
from worker.clip import prepare_clip
from worker.models import build
from worker.picture import describe, draw_strip, screens, stage, video, write_video
from worker.picture.colours import amplified, tint
from worker.picture.panel import PANEL, enlarge, flow_panel
from worker.picture.pen import text_width, write
from worker.replay import Change, Source
from worker.saliency import influence_of
from worker.video import decode_clip

CLASSES = ("stay", "go", "turn")
#: Two moves of one region of the third flow, and one of another region of the last.
POINT = ((2 * (2 * 6 + 5), 2), (2 * (2 * 6 + 5) + 1, -1), (2 * (6 * 6 + 0), 1))
MAX_BYTES = 10_000_000


@pytest.fixture
def module():
    torch.manual_seed(3)
    return build("cnn_lstm", {"classes": 3, "height": 24, "width": 32}).eval()


@pytest.fixture
def make_scene(write_video, sampling, module):
    """Return a function that stages a point as if it had led away from the class the model finds least likely."""
    path = write_video()

    def make(point=POINT, features="grid:2x3", rank=0, digest=None, change=None):
        model = ModelSpec(name="cnn_lstm", weights="/w", classes=CLASSES, sha256="0" * 64)
        spec = JobSpec(
            dataset="/d", model=model, sampling=sampling, flow=FarnebackSpec(), features=features,
            norm="L2", tau="1", radius="40",
        )  # fmt: skip
        frames = torch.from_numpy(decode_clip(path, sampling, MAX_BYTES)).permute(0, 3, 1, 2)[None] / 255
        with torch.inference_mode():
            label = CLASSES[int(module(frames)[0].argsort()[rank])]
        clip = prepare_clip(path, sampling, spec.flow, spec.partition, MAX_BYTES, influence_of(spec, label, module))
        source = Source(path, label, digest or clip.digest, spec, module, MAX_BYTES)
        return stage(change or Change.on_grid(point, 1.0), source)

    return make


@pytest.fixture
def scene(make_scene):
    return make_scene()


def test_only_the_frames_after_changed_flows_differ(scene):
    differs = [bool((old != new).any()) for old, new in zip(scene.original, scene.changed, strict=True)]
    assert differs == [False, False, False, True, False, False, False, True]
    assert scene.flows == [2, 6]


def test_a_witness_of_another_clip_or_of_nothing_is_refused(make_scene):
    with pytest.raises(IntegrityError, match="changed since it was prepared"):
        make_scene(digest="f" * 64)
    with pytest.raises(IntegrityError, match="does not change the prediction"):
        make_scene(rank=-1)


def test_the_document_says_where_and_how_far(scene):
    told = describe(scene)
    assert told["cost"] == 4 * 12 * 10 + 12 * 10 + 12 * 11
    assert told["distance"] == pytest.approx(np.sqrt(told["cost"]))
    assert told["distance"] == pytest.approx(np.linalg.norm(scene.delta))
    assert told["changed_frames"] == [4, 8]
    assert [(m["flow"], m["frames"], m["region"], m["direction"], m["steps"]) for m in told["moves"]] == [
        (3, [3, 4], 6, "right", 2), (3, [3, 4], 6, "up", -1), (7, [7, 8], 1, "right", 1),
    ]  # fmt: skip
    assert told["moves"][0]["box"] == {"left": 22, "top": 12, "width": 10, "height": 12}
    assert told["moves"][0]["region_pixels"] == 120
    assert told["after"]["margin"] < 0


def test_a_screen_shows_both_clips_side_by_side(scene):
    shown = list(screens(scene))
    assert len(shown) == 8
    (size,) = {picture.shape for picture in shown}
    assert all(side % 2 == 0 for side in size[:2])
    for frame, picture in enumerate(shown):
        for panel in (enlarge(scene.original[frame]), enlarge(scene.changed[frame]), flow_panel(scene, frame)):
            assert panel.shape == (PANEL, PANEL * 32 // 24, 3)
            found = cv2.matchTemplate(picture, panel, cv2.TM_SQDIFF)
            *_, (left, top), _ = cv2.minMaxLoc(found)
            assert (picture[top : top + PANEL, left : left + panel.shape[1]] == panel).all()
        # The margins stay empty: nothing is cut off.
        assert (picture[:, :10] == picture[0, 0]).all()
        assert (picture[:, -10:] == picture[0, 0]).all()


def test_the_change_of_flow_is_drawn_where_it_is(scene):
    coloured = np.ptp(flow_panel(scene, 3).astype(int), axis=2) > 30
    inside = coloured[PANEL // 2 :, 22 * 12 :]
    assert inside.mean() > 0.8
    # A border is two pixels wide.
    assert coloured.sum() - inside.sum() < 4 * sum(inside.shape)
    assert np.ptp(flow_panel(scene, 2).astype(int), axis=2).max() == 0


@pytest.mark.parametrize("features", ["global", "superpixel:5", "saliency:4", "pixel"])
def test_every_partition_can_be_drawn(make_scene, features, tmp_path):
    scene = make_scene(point=((0, 1), (1, 1)), features=features)
    draw_strip(scene, tmp_path / "strip.png")
    assert np.ptp(flow_panel(scene, 1).astype(int), axis=2).max() > 30


def test_the_video_reads_back(scene, tmp_path, monkeypatch):
    pictures = list(screens(scene))
    path = write_video(pictures, tmp_path / "witness")
    capture = cv2.VideoCapture(str(path))
    for picture in pictures:
        read, image = capture.read()
        assert read
        assert np.abs(image[:, :, ::-1].astype(float) - picture).mean() < 5
    assert not capture.read()[0]
    monkeypatch.setattr(video, "CODECS", (("XXXX", ".webm"), ("MJPG", ".avi")))
    path = write_video(pictures, tmp_path / "other")
    assert path.suffix == ".avi"
    assert video.count_frames(path) == 8
    assert [file.name for file in tmp_path.glob("other*")] == ["other.avi"]
    with pytest.raises(InputError, match="no video can be written"):
        write_video(pictures, tmp_path / "none" / "witness")


def test_the_strip_is_a_light_picture(scene, tmp_path):
    draw_strip(scene, tmp_path / "strip.png")
    picture = cv2.imread(str(tmp_path / "strip.png"))
    edge = np.concatenate([picture[:20].reshape(-1, 3), picture[-20:].reshape(-1, 3), picture[:, -20:].reshape(-1, 3)])
    assert edge.min() > 240
    with pytest.raises(InputError, match="cannot be written"):
        draw_strip(scene, tmp_path / "none" / "strip.png")


def test_text_keeps_to_its_room():
    picture = np.full((40, 400, 3), 255, np.uint8)
    write(picture, "a name that is far too long for the room that it has been given", (10, 25), 150, 18)
    dark = np.nonzero((picture < 128).any(axis=(0, 2)))[0]
    assert 100 < dark.max() <= 160
    assert text_width("wide", 18) > text_width("wide", 12)


def test_a_difference_is_raised_by_a_round_factor():
    raised, factor = amplified(np.array([0.0, 0.02, -0.02]))
    assert factor == 20
    assert raised == pytest.approx([0.5, 0.9, 0.1])
    assert amplified(np.zeros(3))[0] == pytest.approx([0.5] * 3)
    assert amplified(np.array([1.0, -1.0]))[1] == 1
    grey = tint(np.full((2, 2, 3), 0.5), np.zeros((2, 2, 2)))
    assert grey == pytest.approx(np.full((2, 2, 3), 0.8))
