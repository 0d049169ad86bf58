"""Rendered demo clips are real videos, the same for the same seed, and show their class by motion."""

import subprocess
import sys

import cv2
import numpy as np
import pytest

from common.errors import InputError
from common.jobspec import SamplingSpec
from worker.demo.render import DIRECTIONS, LENGTH, SIZE, render_clip, render_dataset
from worker.video import decode_clip


def moved(clip: np.ndarray) -> np.ndarray:
    """How far what changes has moved, (x, y): the centroid of |last - median| minus that of |first - median|."""
    still = np.median(clip, axis=0)
    grid = np.stack(np.meshgrid(np.arange(SIZE), np.arange(SIZE)), axis=-1)
    weights = [np.maximum(np.abs(frame - still).mean(axis=-1) - 5, 0) for frame in (clip[0], clip[-1])]
    first, last = ((weight[..., None] * grid).sum(axis=(0, 1)) / weight.sum() for weight in weights)
    return last - first


@pytest.mark.parametrize("label", DIRECTIONS)
def test_the_shape_moves_as_its_class_says(label: str) -> None:
    angle = np.deg2rad(DIRECTIONS[label])
    along = [
        moved(render_clip(label, np.random.default_rng(seed))) @ [np.cos(angle), np.sin(angle)] for seed in range(8)
    ]
    assert min(along) > 1.0


def test_files_have_ucf101_layout_and_decode(tmp_path) -> None:
    written = render_dataset(tmp_path, per_class=2, seed=5)
    assert [str(path.relative_to(tmp_path)) for path, _ in written[:2]] == [
        "MoveDown/v_MoveDown_g01_c01.avi",
        "MoveDown/v_MoveDown_g02_c01.avi",
    ]
    assert {label for _, label in written} == set(DIRECTIONS)
    path, label = written[0]
    clip = decode_clip(path, SamplingSpec(frames=LENGTH, height=SIZE, width=SIZE), 10_000_000)
    drawn = render_clip(label, np.random.default_rng([5, 0, 0]))
    assert clip.shape == drawn.shape
    assert np.abs(clip.astype(int) - drawn.astype(int)).mean() < 6  # JPEG loses some; swapped colours are far off.


def test_same_seed_same_bytes_and_more_clips_only_add(tmp_path) -> None:
    few = render_dataset(tmp_path / "few", per_class=1, seed=3)
    render_dataset(tmp_path / "many", per_class=2, seed=3)
    other = render_dataset(tmp_path / "other", per_class=1, seed=4)
    for (path, _), (different, _) in zip(few, other, strict=True):
        relative = path.relative_to(tmp_path / "few")
        assert path.read_bytes() == (tmp_path / "many" / relative).read_bytes()
        assert path.read_bytes() != different.read_bytes()


def test_group_and_clip_numbers_never_repeat(tmp_path) -> None:
    written = render_dataset(tmp_path, per_class=26, seed=0)
    assert len({path for path, _ in written}) == 26 * len(DIRECTIONS)
    assert written[25][0].name == "v_MoveDown_g01_c02.avi"


def test_wrong_number_is_refused(tmp_path) -> None:
    for number in (0, 2476):
        with pytest.raises(InputError, match="--per-class"):
            render_dataset(tmp_path, per_class=number, seed=0)


def test_unwritable_folder_is_an_input_error(tmp_path) -> None:
    (tmp_path / "MoveDown" / "v_MoveDown_g01_c01.avi").mkdir(parents=True)
    with pytest.raises(InputError, match="cannot be written"):
        render_dataset(tmp_path, per_class=1, seed=0)


def test_the_command_line_renders_clips(tmp_path) -> None:
    command = [sys.executable, "-m", "worker.demo.render", str(tmp_path / "out"), "--per-class", "1", "--seed", "2"]
    subprocess.run(command, check=True)
    assert cv2.VideoCapture(str(tmp_path / "out/MoveUp/v_MoveUp_g01_c01.avi"), cv2.CAP_FFMPEG).read()[0]
