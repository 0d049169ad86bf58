"""Decodes a video file into the sampled frames of a clip; the decoder itself is a limited child process."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    import numpy.typing as npt

    from common.jobspec import SamplingSpec

__all__ = ["decode_clip"]


def decode_clip(path: Path, sampling: SamplingSpec, max_bytes: int) -> npt.NDArray[np.uint8]:
    """Decode the sampled frames of a video, uint8 RGB ``[T, H, W, 3]``.

    Raises ClipError, in one line that names the file, when it is missing, empty, truncated, no video, too short, too
    large (``max_bytes`` of decoded frames), or when decoding crashes or takes too long.
    """
    # Imported late: the child process enters this package as well, and must load nothing beside cv2 and numpy.
    from worker.video.runner import run_decoder

    return run_decoder(path, sampling, max_bytes)
