"""What each partition promises about its regions, on examples small enough to see."""

from __future__ import annotations

import numpy as np
import pytest

from common.errors import InputError
from common.features import parse_partition
from worker.features import label_regions, region_sizes


def flow_of(height: int, width: int, steps: int = 2) -> np.ndarray:
    return np.random.default_rng(5).normal(size=(steps, 2, height, width)).astype(np.float32)


def test_global_is_one_region_of_all_pixels():
    assert region_sizes(label_regions(parse_partition("global"), flow_of(6, 8))) == [[48], [48]]


def test_grid_is_numbered_in_reading_order_with_near_equal_rectangles():
    labels = label_regions(parse_partition("grid:2x3"), flow_of(5, 7, steps=1))
    assert labels[0].tolist() == [
        [0, 0, 0, 1, 1, 2, 2],
        [0, 0, 0, 1, 1, 2, 2],
        [0, 0, 0, 1, 1, 2, 2],
        [3, 3, 3, 4, 4, 5, 5],
        [3, 3, 3, 4, 4, 5, 5],
    ]
    assert region_sizes(labels) == [[9, 6, 6, 6, 4, 4]]


def test_pixel_gives_every_pixel_its_own_region():
    labels = label_regions(parse_partition("pixel"), flow_of(3, 4))
    assert labels[1].ravel().tolist() == list(range(12))


def test_superpixels_follow_a_motion_boundary():
    flow = np.zeros((1, 2, 32, 32), np.float32)
    flow[0, 0, :, 13:] = 6.0
    labels = label_regions(parse_partition("superpixel:8"), flow)[0]
    assert set(labels[:, :13].ravel()).isdisjoint(labels[:, 13:].ravel())


def test_superpixels_of_still_flow_are_near_equal_blocks():
    sizes = region_sizes(label_regions(parse_partition("superpixel:16"), np.zeros((1, 2, 32, 32), np.float32)))[0]
    assert len(sizes) == 16
    assert min(sizes) >= 32
    assert max(sizes) <= 128


def test_superpixels_ignore_estimation_noise():
    noise = (1e-3 * flow_of(32, 32, steps=1)).astype(np.float32)
    partition = parse_partition("superpixel:16")
    still = label_regions(partition, np.zeros_like(noise))
    assert (label_regions(partition, noise) == still).mean() > 0.95


def test_each_flow_has_its_own_superpixels():
    labels = label_regions(parse_partition("superpixel:6"), flow_of(24, 24))
    assert (labels[0] != labels[1]).any()


@pytest.mark.parametrize("text", ["grid:7x2", "grid:2x9", "superpixel:49"])
def test_impossible_partition_is_refused(text):
    with pytest.raises(InputError, match="features"):
        label_regions(parse_partition(text), flow_of(6, 8))


def test_salient_regions_share_the_influence_equally_and_begin_with_the_strongest():
    saliency = np.array([[[8.0, 1, 1], [1, 1, 4]]])
    labels = label_regions(parse_partition("saliency:2"), flow_of(2, 3, steps=1), saliency)
    assert labels.tolist() == [[[0, 1, 1], [1, 1, 1]]]
    labels = label_regions(parse_partition("saliency:4"), flow_of(2, 3, steps=1), saliency)
    # Four parts of 4: the strongest pixel spans two of them, so one has no pixel.
    assert labels.tolist() == [[[0, 2, 2], [2, 2, 1]]]


def test_a_flow_without_influence_is_cut_into_equal_areas():
    labels = label_regions(parse_partition("saliency:2"), flow_of(2, 3, steps=1), np.zeros((1, 2, 3)))
    assert labels.tolist() == [[[0, 0, 0], [1, 1, 1]]]


def test_saliency_must_be_known():
    with pytest.raises(ValueError, match="needs the saliency"):
        label_regions(parse_partition("saliency:2"), flow_of(2, 3))
