"""Decides which estimator serves a flow specification and what its results must satisfy."""

from __future__ import annotations

from itertools import pairwise
from typing import assert_never

import cv2
import numpy as np
import numpy.typing as npt

from common.errors import InputError, NumericalError
from common.jobspec import DisSpec, FarnebackSpec
from worker.flow.dis import dis_flow
from worker.flow.farneback import farneback_flow


def estimate_flow(frames: npt.NDArray[np.uint8], spec: FarnebackSpec | DisSpec) -> npt.NDArray[np.float32]:
    """Estimate the flow from each frame to the next.

    Parameters
    ----------
    frames : uint8 ``[T, H, W, 3]``
        RGB.
    spec : FarnebackSpec or DisSpec
        Method and its parameters.

    Returns
    -------
    Flow in pixels, float32 ``[T-1, 2, H, W]``; channel 0 is u (to the right), channel 1 is v (down).

    Raises
    ------
    InputError : the method cannot work on frames of this size or with these parameters.
    NumericalError : the method gave NaN or infinity.

    """
    grays = [np.asarray(cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY), dtype=np.uint8) for frame in frames]
    try:
        flows = [_pair_flow(a, b, spec) for a, b in pairwise(grays)]
    except cv2.error as error:
        raise InputError("flow", f"{spec.method} refuses these frames or parameters: {error.err}") from error
    flow = np.ascontiguousarray(np.stack(flows).transpose(0, 3, 1, 2))
    if not np.isfinite(flow).all():
        raise NumericalError(f"flow: {spec.method} gave NaN or infinity between two frames")
    return flow


def _pair_flow(
    previous: npt.NDArray[np.uint8], current: npt.NDArray[np.uint8], spec: FarnebackSpec | DisSpec
) -> npt.NDArray[np.float32]:
    match spec:
        case FarnebackSpec():
            return farneback_flow(previous, current, spec)
        case DisSpec():
            return dis_flow(previous, current, spec)
        case _:
            assert_never(spec)
