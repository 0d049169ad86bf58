"""Every partition covers every pixel with dense labels, for flows of any size and kind."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from common.features import Partition, PartitionKind
from worker.features import label_regions, region_sizes


@st.composite
def flows(draw: st.DrawFn) -> np.ndarray:
    height, width = draw(st.integers(1, 20)), draw(st.integers(1, 20))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    scale = draw(st.sampled_from([0.0, 1e-6, 1.0, 50.0, 1e6]))
    flow = scale * rng.normal(size=(2, 2, height, width))
    if draw(st.booleans()):
        flow = np.round(flow / (scale or 1.0)) * scale
    return flow.astype(np.float32)


@st.composite
def partitions_of_flows(draw: st.DrawFn) -> tuple[Partition, np.ndarray]:
    flow = draw(flows())
    height, width = flow.shape[2:]
    kind = draw(st.sampled_from(PartitionKind))
    if kind is PartitionKind.GRID:
        return Partition(kind, rows=draw(st.integers(1, height)), columns=draw(st.integers(1, width))), flow
    if kind in (PartitionKind.SUPERPIXEL, PartitionKind.SALIENCY):
        return Partition(kind, regions=draw(st.integers(1, height * width))), flow
    return Partition(kind), flow


@settings(max_examples=60, deadline=None)
@given(partitions_of_flows())
def test_labels_are_dense_covering_bounded_and_repeatable(case):
    partition, flow = case
    # Still where the flow is: some saliency is zero, as it is in a model's blind spots.
    saliency = np.hypot(flow[:, 0], flow[:, 1], dtype=np.float64)
    labels = label_regions(partition, flow, saliency)
    steps, _, height, width = flow.shape
    assert labels.shape == (steps, height, width)
    assert labels.dtype == np.int32
    for step, sizes in zip(labels, region_sizes(labels), strict=True):
        assert set(step.ravel()) == set(range(len(sizes)))
        assert min(sizes) >= 1
        assert sum(sizes) == height * width
        if partition.kind in (PartitionKind.SUPERPIXEL, PartitionKind.SALIENCY):
            assert len(sizes) <= partition.regions
        else:
            pixels = partition.kind is PartitionKind.PIXEL
            assert len(sizes) == (height * width if pixels else partition.rows * partition.columns)
    np.testing.assert_array_equal(labels, label_regions(partition, flow.copy(), saliency))
