"""Decides the superpixels of one flow: compact regions of similar motion.

Windowed k-means over position and flow, after SLIC (R. Achanta et al., PAMI 2012) with flow in place of colour:
squared distance = (position / S)^2 + (flow / spread)^2, where S is the regions' mean side in pixels and ``spread``
the flow's root-mean-square deviation from its mean. Regions need not be connected. All arithmetic is plain float64
in a fixed order, without random numbers or BLAS, so equal flows give equal labels.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

ITERATIONS = 10

# Differences of flow far below this many pixels are estimation noise and must not shape regions.
MIN_SPREAD = 0.1

Centres = npt.NDArray[np.float64]


def superpixel_labels(field: npt.NDArray[np.float32], regions: int) -> npt.NDArray[np.int32]:
    """Label one flow ``[2, H, W]`` with at most ``regions`` superpixels; int32 ``[H, W]``, no label unused.

    A cluster that loses its last pixel is dropped, so there may be fewer than ``regions`` labels, never more.
    """
    _, height, width = field.shape
    points = _points(field, math.sqrt(height * width / regions))
    labels = _seed_blocks(regions, height, width)
    for _ in range(ITERATIONS):
        updated = _assign(points, _centres(points, labels, regions), labels, regions)
        if np.array_equal(updated, labels):
            break
        labels = updated
    _, dense = np.unique(labels, return_inverse=True)
    return np.asarray(dense.reshape(height, width), dtype=np.int32)


def _points(field: npt.NDArray[np.float32], side: float) -> npt.NDArray[np.float64]:
    """Scaled features of every pixel: y, x, u, v; ``[4, H, W]``."""
    flow = field.astype(np.float64)
    deviation = flow - flow.mean(axis=(1, 2), keepdims=True)
    spread = max(math.sqrt(float((deviation**2).sum(axis=0).mean())), MIN_SPREAD)
    position = np.indices(field.shape[1:], dtype=np.float64) / side
    return np.concatenate([position, flow / spread])


def _seed_blocks(regions: int, height: int, width: int) -> npt.NDArray[np.int64]:
    """Cut the frame into exactly ``regions`` near-square blocks: bands of rows, each cut into its share of blocks."""
    bands = round(math.sqrt(regions * height / width))
    bands = min(max(bands, math.ceil(regions / width), 1), height, regions)
    labels = np.empty((height, width), np.int64)
    first = 0
    for band in range(bands):
        share = regions // bands + (band < regions % bands)
        rows = slice(band * height // bands, (band + 1) * height // bands)
        labels[rows] = first + np.arange(width) * share // width
        first += share
    return labels


def _centres(points: npt.NDArray[np.float64], labels: npt.NDArray[np.int64], regions: int) -> Centres:
    """Mean features of every cluster, ``[4, regions]``; a cluster without pixels gets NaN and wins none again."""
    flat = labels.ravel()
    counts = np.bincount(flat, minlength=regions)
    sums = np.stack([np.bincount(flat, weights=feature.ravel(), minlength=regions) for feature in points])
    return np.divide(sums, counts, out=np.full_like(sums, np.nan), where=counts > 0)


def _assign(
    points: npt.NDArray[np.float64], centres: Centres, labels: npt.NDArray[np.int64], regions: int
) -> npt.NDArray[np.int64]:
    """Give each pixel to the nearest centre within reach (two mean sides around it); the first one wins a tie."""
    _, height, width = points.shape
    side = math.sqrt(height * width / regions)
    reach = math.ceil(2 * side)
    best = np.full((height, width), np.inf)
    updated = labels.copy()
    for label in np.flatnonzero(np.isfinite(centres[0])):
        centre = centres[:, label]
        y, x = round(float(centre[0]) * side), round(float(centre[1]) * side)
        window = (slice(max(y - reach, 0), y + reach + 1), slice(max(x - reach, 0), x + reach + 1))
        distance = ((points[:, *window] - centre[:, None, None]) ** 2).sum(axis=0)
        nearer = distance < best[window]
        best[window][nearer] = distance[nearer]
        updated[window][nearer] = label
    return updated
