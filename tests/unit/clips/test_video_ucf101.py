"""Real clips of UCF101 are accepted; skipped, with the reason, where they are not at hand."""

from __future__ import annotations

import os
from pathlib import Path

import cv2
import numpy as np
import pytest

from common.features import parse_partition
from common.jobspec import FarnebackSpec, SamplingSpec
from worker.clip import prepare_clip
from worker.video import decode_clip
from worker.video.container import truncation

SHARED = Path(__file__).resolve().parents[4] / "shared" / "data" / "ucf101"


@pytest.fixture(scope="module")
def real_clips() -> list[Path]:
    root = Path(os.environ.get("FLOWCERT_UCF101", SHARED))
    clips = sorted(root.glob("*/*.avi"))
    if not clips:
        pytest.skip(f"no UCF101 clips under {root}; set FLOWCERT_UCF101 to a folder of <Class>/*.avi")
    return clips


def test_no_real_clip_is_taken_for_truncated(real_clips):
    for path in real_clips:
        with path.open("rb") as file:
            assert truncation(file, path.stat().st_size) is None, path


def test_some_real_clips_are_prepared(real_clips):
    sampling = SamplingSpec(frames=16, height=64, width=64)
    for path in real_clips[:: max(len(real_clips) // 3, 1)]:
        clip = prepare_clip(path, sampling, FarnebackSpec(), parse_partition("superpixel:16"), 2_000_000_000)
        assert clip.frames.shape == (16, 64, 64, 3)
        assert 0.01 < abs(clip.flow).max() < 64
        assert all(10 <= len(sizes) <= 16 for sizes in clip.region_sizes)


def test_a_frame_a_second_of_a_real_clip_is_every_twenty_fifth(real_clips):
    rates = ((path, cv2.VideoCapture(str(path)).get(cv2.CAP_PROP_FPS)) for path in real_clips)
    path = next(path for path, rate in rates if rate == 25)
    size = {"frames": 3, "height": 64, "width": 64}
    strided = decode_clip(path, SamplingSpec(stride=25, **size), 2_000_000_000)
    np.testing.assert_array_equal(decode_clip(path, SamplingSpec(every=1, **size), 2_000_000_000), strided)
