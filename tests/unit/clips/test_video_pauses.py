"""Frames a pause apart are those the video's own timestamps say, and a video without usable ones is refused for it."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction

import cv2
import numpy as np
import pytest

from common.errors import ClipError
from common.jobspec import SamplingSpec
from worker.video import decode_clip
from worker.video.decoder import count_pauses
from worker.video.refused import RefusedError
from worker.video.timing import seconds

LIMIT = 100_000_000


def shades(count: int) -> list[np.ndarray]:
    """Frames that are told apart by their shade: 10 a frame."""
    return [np.full((32, 48, 3), 10 * number, np.uint8) for number in range(count)]


def numbers(path, frames: int, every) -> list[int]:
    clip = decode_clip(path, SamplingSpec(frames=frames, every=every, height=32, width=48), LIMIT)
    return np.rint(clip.mean(axis=(1, 2, 3)) / 10).astype(int).tolist()


def refusal(path, frames: int, every) -> str:
    with pytest.raises(ClipError) as caught:
        numbers(path, frames, every)
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)
    assert "--every" in caught.value.problem
    return caught.value.problem


@pytest.mark.parametrize(
    ("name", "codec"), [("a.avi", "MJPG"), ("b.avi", "XVID"), ("c.mp4", "mp4v"), ("d.mkv", "MJPG"), ("e.mov", "mp4v")]
)
def test_at_25_frames_a_second_a_pause_of_three_frames_is_a_stride_of_three(write_video, name, codec):
    path = write_video(count=24, name=name, codec=codec)
    size = {"frames": 8, "height": 24, "width": 32}
    paused = decode_clip(path, SamplingSpec(every="0.12", **size), LIMIT)
    np.testing.assert_array_equal(paused, decode_clip(path, SamplingSpec(stride=3, **size), LIMIT))


@pytest.mark.parametrize("name", ["varying.mkv", "varying.mp4"])
def test_where_the_rate_varies_frames_are_taken_by_their_times(tmp_path, write_mjpeg_avi, name):
    path = tmp_path / name
    read = cv2.VideoCapture(str(write_mjpeg_avi(shades(12), 12)), cv2.CAP_FFMPEG, [cv2.CAP_PROP_FORMAT, -1])
    raw = [cv2.VIDEOWRITER_PROP_RAW_VIDEO, 1]
    written = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, cv2.VideoWriter.fourcc(*"MJPG"), 1000, (48, 32), raw)
    for time in (0, 20, 99, 100, 180, 210, 250, 290, 310, 399, 401, 450):
        written.set(cv2.VIDEOWRITER_PROP_PTS, time)
        written.write(read.read()[1])
    written.release()
    # By the rate that OpenCV gives, a tenth of a second would be a hundred frames.
    assert cv2.VideoCapture(str(path), cv2.CAP_FFMPEG).get(cv2.CAP_PROP_FPS) == pytest.approx(1000)
    assert numbers(path, 5, "0.1") == [0, 3, 5, 8, 10]


def test_frames_that_were_dropped_still_take_their_time(write_mjpeg_avi):
    images = shades(12)
    images[4] = images[5] = None
    path = write_mjpeg_avi(images, 12)
    assert numbers(path, 4, "0.12") == [0, 3, 6, 9]
    size = {"frames": 4, "height": 32, "width": 48}
    strided = decode_clip(path, SamplingSpec(stride=3, **size), LIMIT)
    assert np.rint(strided.mean(axis=(1, 2, 3)) / 10).tolist() == [0, 3, 8, 11]


def test_exactly_as_much_time_as_is_needed_is_enough(write_mjpeg_avi):
    path = write_mjpeg_avi(shades(10), 10)
    assert numbers(path, 4, "0.12") == [0, 3, 6, 9]
    assert refusal(write_mjpeg_avi(shades(9), 9), 4, "0.12") == "has 3 frames at --every 0.12, 4 are needed"
    assert refusal(write_mjpeg_avi(shades(3), 3), 4, "0.12") == "has 1 frame at --every 0.12, 4 are needed"


def test_a_pause_without_a_frame_is_refused(write_mjpeg_avi):
    path = write_mjpeg_avi(shades(12), 12)
    assert refusal(path, 4, "0.01") == "has no frame from 0.01 s to 0.02 s, where --every 0.01 needs one"
    images = shades(12)
    images[3:8] = [None] * 5
    gap = "has no frame from 0.16 s to 0.24 s, where --every 0.08 needs one"
    assert refusal(write_mjpeg_avi(images, 12), 4, "0.08") == gap
    # Nothing is wrong with what lies after the last frame that is needed.
    assert numbers(write_mjpeg_avi(images, 12), 2, "0.08") == [0, 2]


@pytest.mark.parametrize(("period", "rate"), [(0, 0), (0, 2**32 - 1), (40000, 2**31 - 1), (40000, 10**6)])
def test_without_a_usable_frame_rate_a_pause_is_refused_and_a_stride_is_not(write_mjpeg_avi, period, rate):
    path = write_mjpeg_avi(shades(12), 12, period=period, rate=rate)
    assert "timestamps, which --every needs" in refusal(path, 2, "0.04")
    size = {"frames": 2, "height": 32, "width": 48}
    assert decode_clip(path, SamplingSpec(stride=3, **size), LIMIT).shape == (2, 32, 48, 3)
    assert decode_clip(path, SamplingSpec(**size), LIMIT).shape == (2, 32, 48, 3)


def test_a_stream_without_a_rate_has_that_of_its_file(write_mjpeg_avi):
    # This is how FFmpeg reads such a header, and both say the same: 20 ms a frame.
    assert numbers(write_mjpeg_avi(shades(12), 12, period=20_000, rate=0), 4, "0.06") == [0, 3, 6, 9]


@pytest.mark.parametrize("time", [float("nan"), float("inf"), -float("inf")])
def test_a_time_that_is_no_number_is_refused(time):
    with pytest.raises(RefusedError, match="--every needs one of each frame"):
        seconds(time)
    assert seconds(1000 / 3) == Fraction(333_333, 1_000_000)


def test_the_check_counts_what_a_job_would_take(write_mjpeg_avi):
    path = write_mjpeg_avi(shades(10), 10)
    assert count_pauses(path, LIMIT, 4, Decimal("0.12")) == 4
    assert count_pauses(path, LIMIT, 3, Decimal("0.12")) == 3
    assert count_pauses(path, LIMIT, 9, Decimal("0.12")) == 4
    with pytest.raises(RefusedError, match=r"where --every 0\.01 needs one"):
        count_pauses(path, LIMIT, 4, Decimal("0.01"))
    with pytest.raises(RefusedError, match="no frame rate in its header"):
        count_pauses(write_mjpeg_avi(shades(10), 10, period=0, rate=0), LIMIT, 4, Decimal("0.12"))
