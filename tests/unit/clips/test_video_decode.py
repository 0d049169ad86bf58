"""What decoding promises about good videos: the right frames, in the right order, colours and size."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from common.jobspec import SamplingSpec
from worker.video import decode_clip
from worker.video.sampling import frames_needed, sample_indices

LIMIT = 100_000_000


def frame_numbers(clip: np.ndarray) -> list[int]:
    """Frame numbers, read back from the red channel, which moving_frames raises by 5 per frame."""
    return np.rint(clip[:, :, :, 0].mean(axis=(1, 2)) / 5).astype(int).tolist()


@pytest.mark.parametrize(
    ("name", "codec"), [("a.avi", "MJPG"), ("b.avi", "XVID"), ("c.mp4", "mp4v"), ("d.mkv", "MJPG")]
)
def test_uniform_sampling_takes_frames_from_first_to_last(write_video, sampling, name, codec):
    path = write_video(count=24, name=name, codec=codec)
    clip = decode_clip(path, sampling, LIMIT)
    assert clip.shape == (8, 24, 32, 3)
    assert clip.dtype == np.uint8
    # Lossy colour may be one frame number off, never two.
    expected = np.array([0, 3, 7, 10, 13, 16, 20, 23])
    assert np.abs(np.array(frame_numbers(clip)) - expected).max() <= 1
    assert frame_numbers(clip) == sorted(frame_numbers(clip))


def test_stride_takes_every_third_frame_from_the_first(write_video):
    clip = decode_clip(write_video(count=24), SamplingSpec(frames=4, stride=3, height=24, width=32), LIMIT)
    assert frame_numbers(clip) == [0, 3, 6, 9]


def test_frames_are_those_opencv_reads_resized_in_rgb(write_video):
    path = write_video(count=8)
    clip = decode_clip(path, SamplingSpec(frames=8, height=24, width=32), LIMIT)
    capture = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG)
    for frame in clip:
        _, image = capture.read()
        wanted = cv2.resize(image, (32, 24), interpolation=cv2.INTER_AREA)[:, :, ::-1]
        np.testing.assert_array_equal(frame, wanted)


def test_exactly_as_many_frames_as_needed_are_enough(write_video, sampling):
    clip = decode_clip(write_video(count=8), sampling, LIMIT)
    assert frame_numbers(clip) == list(range(8))


def test_header_that_claims_too_few_or_too_many_frames_is_not_believed(write_mjpeg_avi):
    images = [np.full((32, 48, 3), 10 * i, np.uint8) for i in range(12)]
    sampling = SamplingSpec(frames=12, height=32, width=48)
    for claimed in (3, 1_000_000):
        clip = decode_clip(write_mjpeg_avi(images, claimed), sampling, LIMIT)
        levels = clip.mean(axis=(1, 2, 3))
        np.testing.assert_allclose(levels, 10 * np.arange(12), atol=2)


def test_frames_of_another_size_come_scaled_to_the_first(write_mjpeg_avi):
    # OpenCV hides the change; should it ever stop, decoding refuses the file and this test says so.
    halves = np.concatenate([np.full((32, 48, 3), 50, np.uint8), np.full((32, 48, 3), 200, np.uint8)])
    path = write_mjpeg_avi([np.full((32, 48, 3), 90, np.uint8), halves], 2)
    clip = decode_clip(path, SamplingSpec(frames=2, height=32, width=48), LIMIT)
    assert clip[1, 4].mean() == pytest.approx(50, abs=4)
    assert clip[1, 28].mean() == pytest.approx(200, abs=4)


def test_decoding_twice_gives_equal_bytes(write_video, sampling):
    path = write_video(codec="XVID")
    np.testing.assert_array_equal(decode_clip(path, sampling, LIMIT), decode_clip(path, sampling, LIMIT))


def test_relative_path_and_odd_but_legal_name(write_video, sampling, monkeypatch, tmp_path):
    write_video(name="-rf ähm clip.avi")
    monkeypatch.chdir(tmp_path)
    assert decode_clip(Path("-rf ähm clip.avi"), sampling, LIMIT).shape == (8, 24, 32, 3)


@pytest.mark.parametrize(("count", "frames"), [(16, 16), (17, 16), (155, 16), (2, 2), (1000, 3), (31, 16)])
def test_sample_indices_equal_rounded_linspace_and_never_repeat(count, frames):
    indices = sample_indices(count, frames, None)
    assert indices == np.round(np.linspace(0, count - 1, frames)).astype(int).tolist()
    assert len(set(indices)) == frames


def test_stride_needs_frames_up_to_the_last_sample():
    assert frames_needed(4, 3) == 10
    assert sample_indices(10, 4, 3) == [0, 3, 6, 9]
    assert frames_needed(16, None) == 16
