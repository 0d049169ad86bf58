"""Estimates flow by dense inverse search (T. Kroeger et al., ECCV 2016), through OpenCV."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from common.errors import InputError
from common.jobspec import DisSpec

_PRESETS = {
    "ultrafast": cv2.DISOPTICAL_FLOW_PRESET_ULTRAFAST,
    "fast": cv2.DISOPTICAL_FLOW_PRESET_FAST,
    "medium": cv2.DISOPTICAL_FLOW_PRESET_MEDIUM,
}

MIN_SIDE = 12
MAX_ASPECT = 2


def dis_flow(previous: npt.NDArray[np.uint8], current: npt.NDArray[np.uint8], spec: DisSpec) -> npt.NDArray[np.float32]:
    """Flow ``[H, W, 2]`` in pixels between two gray images ``[H, W]``; raise InputError when they are too small."""
    height, width = previous.shape
    # OpenCV 5.0 takes the depth of the pyramid from the width alone: on frames more than about 2.6 times as wide as
    # high it reads outside the image and ends the process, so such frames never reach it.
    if min(height, width) < MIN_SIDE or width > MAX_ASPECT * height:
        raise InputError(
            "flow",
            f"dis needs frames of at least {MIN_SIDE}x{MIN_SIDE} pixels, at most {MAX_ASPECT} times as wide as high; "
            f"these are {width}x{height}; use farneback or another sampling size",
        )
    estimator = cv2.DISOpticalFlow.create(_PRESETS[spec.preset])
    start = np.zeros((height, width, 2), np.float32)
    return np.asarray(estimator.calc(previous, current, start), dtype=np.float32)
