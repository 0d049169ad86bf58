"""What flow estimation promises: pixels, direction, shapes, and no numbers that are none."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from common.errors import InputError, NumericalError
from common.jobspec import DisSpec, FarnebackSpec
from worker.flow import estimate, estimate_flow
from worker.warp_reference import reference_warp

SPECS = [FarnebackSpec(), DisSpec(preset="ultrafast"), DisSpec(preset="fast"), DisSpec()]


def shifted_frames(count: int, dx: int, dy: int, height: int = 64, width: int = 64) -> np.ndarray:
    texture = np.random.default_rng(1).integers(0, 256, (height, width, 3), dtype=np.uint8)
    texture = cv2.normalize(cv2.GaussianBlur(texture, (0, 0), 3), None, 0, 255, cv2.NORM_MINMAX)
    return np.stack([np.roll(texture, (t * dy, t * dx), axis=(0, 1)) for t in range(count)])


@pytest.mark.parametrize("spec", SPECS, ids=str)
@pytest.mark.parametrize(("dx", "dy"), [(2, 0), (0, 2), (-1, 1)])
def test_known_shift_is_found_in_pixels_and_channel_order(spec, dx, dy):
    flow = estimate_flow(shifted_frames(3, dx, dy), spec)
    assert flow.shape == (2, 2, 64, 64)
    assert flow.dtype == np.float32
    inner = flow[:, :, 16:-16, 16:-16]
    np.testing.assert_allclose(np.median(inner, axis=(0, 2, 3)), (dx, dy), atol=0.25)


@pytest.mark.parametrize("spec", SPECS, ids=str)
def test_warp_by_the_flow_predicts_the_next_frame(spec):
    frames = shifted_frames(2, 2, -1)
    flow = estimate_flow(frames, spec)[0]
    previous, current = (frame.transpose(2, 0, 1) / 255 for frame in frames)
    inner = np.s_[:, 16:-16, 16:-16]
    unwarped = np.abs(previous - current)[inner].mean()
    assert np.abs(reference_warp(previous, flow) - current)[inner].mean() < 0.3 * unwarped


@pytest.mark.parametrize("spec", SPECS, ids=str)
def test_equal_frames_have_no_flow_and_threads_change_nothing(spec):
    # Farnebäck's flow of equal frames is not quite zero near the border.
    assert np.abs(estimate_flow(shifted_frames(2, 0, 0), spec)).mean() < 0.01
    frames, threads = shifted_frames(2, 3, 1, 96, 128), cv2.getNumThreads()
    try:
        flows = []
        for count in (1, 4):
            cv2.setNumThreads(count)
            flows.append(estimate_flow(frames, spec))
    finally:
        cv2.setNumThreads(threads)
    np.testing.assert_array_equal(*flows)


@pytest.mark.parametrize(("height", "width"), [(8, 8), (8, 1024), (1024, 8), (9, 33)])
def test_farneback_takes_every_frame_size(height, width):
    spec = FarnebackSpec(levels=10, winsize=500, poly_n=7)
    assert estimate_flow(shifted_frames(2, 1, 0, height, width), spec).shape == (1, 2, height, width)


@pytest.mark.parametrize(("height", "width"), [(12, 12), (12, 24), (16, 32), (31, 62), (64, 12), (90, 180), (1024, 12)])
@pytest.mark.parametrize("spec", SPECS[1:], ids=str)
def test_dis_survives_every_size_it_admits(spec, height, width):
    assert estimate_flow(shifted_frames(2, 1, 0, height, width), spec).shape == (1, 2, height, width)


@pytest.mark.parametrize(("height", "width"), [(8, 8), (11, 40), (40, 11), (15, 40), (24, 64), (8, 64)])
def test_dis_names_the_sizes_it_refuses(height, width):
    with pytest.raises(InputError, match=f"flow: dis needs.*{width}x{height}"):
        estimate_flow(shifted_frames(2, 1, 0, height, width), DisSpec())


def test_opencv_refusal_becomes_an_input_error():
    with pytest.raises(InputError, match="flow: farneback refuses"):
        estimate_flow(shifted_frames(2, 1, 0), FarnebackSpec(winsize=2**31 - 1))


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_flow_that_is_no_number_is_an_error(monkeypatch, bad):
    monkeypatch.setattr(estimate, "farneback_flow", lambda *_: np.full((16, 16, 2), bad, np.float32))
    with pytest.raises(NumericalError, match="farneback"):
        estimate_flow(shifted_frames(2, 1, 0, 16, 16), FarnebackSpec())
