"""Decides the saliency regions of one flow: its pixels in order of influence, cut into parts of equal influence.

Region 0 holds the few pixels whose flow moves the margin most, the last region the many that hardly do; so a region
moves about as much of the margin as any other, and the first ones are the cheapest to move.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt


def salient_labels(saliency: npt.NDArray[np.float64], regions: int) -> npt.NDArray[np.int32]:
    """Label one flow's pixels ``[H, W]`` by saliency ``[H, W]`` (at least 0); int32 ``[H, W]``, no label unused.

    There are at most ``regions`` labels, fewer where a single pixel outweighs a part. Pixels of equal saliency keep
    their reading order; a flow without any influence is cut into parts of equal area.
    """
    weights = saliency.ravel()
    if not weights.any():
        weights = np.ones_like(weights)
    order = np.argsort(-weights, kind="stable")
    before = np.cumsum(weights[order]) - weights[order]
    part = np.minimum(before * regions // weights.sum(), regions - 1)
    labels = np.empty(weights.size, np.int32)
    labels[order] = np.unique(part, return_inverse=True)[1]
    return labels.reshape(saliency.shape)
