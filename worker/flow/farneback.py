"""Estimates flow by polynomial expansion (G. Farnebäck, SCIA 2003), through OpenCV."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from common.jobspec import FarnebackSpec


def farneback_flow(
    previous: npt.NDArray[np.uint8], current: npt.NDArray[np.uint8], spec: FarnebackSpec
) -> npt.NDArray[np.float32]:
    """Flow ``[H, W, 2]`` in pixels between two gray images ``[H, W]``."""
    flow = cv2.calcOpticalFlowFarneback(
        previous,
        current,
        np.zeros((*previous.shape, 2), np.float32),
        pyr_scale=spec.pyr_scale,
        levels=spec.levels,
        winsize=spec.winsize,
        iterations=spec.iterations,
        poly_n=spec.poly_n,
        poly_sigma=spec.poly_sigma,
        flags=0,
    )
    return np.asarray(flow, dtype=np.float32)
