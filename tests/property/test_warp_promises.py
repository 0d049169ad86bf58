"""The warp's promises: zero manipulation changes no bit, both implementations agree, gradients are right."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from worker.warp import manipulated_frame, warp
from worker.warp_reference import reference_frame, reference_warp

SEEDS = st.integers(0, 2**32 - 1)
SIDES = st.integers(1, 24)
SCALES = st.sampled_from([0.0, 0.3, 2.0, 40.0])


def frames_and_flows(seed: int, height: int, width: int, scale: float) -> list[torch.Tensor]:
    """Two frames on the 8-bit grid and two flows, some of whose entries are whole pixels."""
    rng = np.random.default_rng(seed)
    frames = rng.integers(0, 256, (2, 3, height, width)) / 255
    flows = scale * rng.normal(size=(2, 2, height, width))
    flows = np.where(rng.random(flows.shape) < 0.3, np.round(flows), flows)
    return [torch.from_numpy(array) for array in (*frames, *flows)]


@settings(max_examples=60, deadline=None)
@given(SEEDS, SIDES, SIDES, SCALES, st.sampled_from([torch.float32, torch.float64]), st.integers(1, 3))
def test_zero_manipulation_reproduces_the_frame_bit_for_bit(seed, height, width, scale, dtype, batch):
    previous, current, flow, _ = (x.to(dtype) for x in frames_and_flows(seed, height, width, scale))
    result = manipulated_frame(previous, current, flow, torch.zeros(batch, 2, height, width, dtype=dtype))
    assert torch.equal(result, current.expand(batch, 3, height, width))


@settings(max_examples=60, deadline=None)
@given(SEEDS, SIDES, SIDES, SCALES)
def test_torch_and_reference_agree_in_float64(seed, height, width, scale):
    previous, current, flow, delta = frames_and_flows(seed, height, width, scale)
    np.testing.assert_allclose(warp(previous, flow).numpy(), reference_warp(previous, flow), rtol=0, atol=1e-12)
    ours = manipulated_frame(previous, current, flow, delta).numpy()
    np.testing.assert_allclose(ours, reference_frame(previous, current, flow, delta), rtol=0, atol=1e-12)


@settings(max_examples=20, deadline=None)
@given(SEEDS, SIDES, SIDES)
def test_batch_of_flows_is_each_flow_alone(seed, height, width):
    previous, current, *flows = frames_and_flows(seed, height, width, 2.0)
    together = warp(previous, torch.stack(flows))
    for result, flow in zip(together, flows, strict=True):
        assert torch.equal(result, warp(previous, flow))
    paired = warp(torch.stack([previous, current]), torch.stack(flows))
    assert torch.equal(paired[1], warp(current, flows[1]))
    assert torch.equal(warp(torch.stack([previous, current]), flows[0])[1], warp(current, flows[0]))


@settings(max_examples=20, deadline=None)
@given(SEEDS, st.integers(2, 12), st.integers(2, 12))
def test_gradient_equals_finite_differences(seed, height, width):
    previous, current, flow, delta = frames_and_flows(seed, height, width, 2.0)
    # Away from whole pixels, where the bilinear surface has kinks, and from the clip at 0 and 1.
    fraction = (flow + delta) - (flow + delta).floor()
    delta = delta + torch.where((fraction < 0.05) | (fraction > 0.95), 0.3, 0.0)
    current, previous = 0.5 * torch.ones_like(current), 0.4 * previous
    weight = torch.from_numpy(np.random.default_rng(seed).normal(size=current.shape))
    delta.requires_grad_()
    (manipulated_frame(previous, current, flow, delta) * weight).sum().backward()
    direction = torch.from_numpy(np.random.default_rng(seed + 1).normal(size=delta.shape))
    step = 1e-6 * direction
    with torch.no_grad():
        ends = [(manipulated_frame(previous, current, flow, delta + s) * weight).sum() for s in (step, -step)]
    slope = float(ends[0] - ends[1]) / 2e-6
    assert float((delta.grad * direction).sum()) == pytest.approx(slope, rel=1e-5, abs=1e-6)


def test_positive_flow_moves_content_right_and_down():
    frame = torch.zeros(3, 5, 5)
    frame[:, 2, 1] = 1.0
    moved = warp(frame, torch.tensor([2.0, 1.0])[:, None, None].expand(2, 5, 5))
    assert moved[0].nonzero().tolist() == [[3, 3]]


def test_border_is_repeated_and_half_pixels_are_means():
    frame = torch.tensor([[1.0, 3.0, 7.0]]).expand(3, 1, 3)
    assert warp(frame, torch.tensor([5.0, 0.0])[:, None, None].expand(2, 1, 3))[0].tolist() == [[1.0, 1.0, 1.0]]
    assert warp(frame, torch.tensor([-0.5, 0.0])[:, None, None].expand(2, 1, 3))[0].tolist() == [[2.0, 5.0, 7.0]]


def test_nan_in_the_flow_shows_in_the_frame():
    flow = torch.zeros(2, 4, 4)
    flow[0, 1, 2] = torch.nan
    assert warp(torch.rand(3, 4, 4), flow).isnan().sum() == 3
