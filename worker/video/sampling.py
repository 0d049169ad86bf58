"""Decides which frames of a video make the clip, from the number of frames that were really read."""

from __future__ import annotations

from fractions import Fraction


def frames_needed(frames: int, stride: int | None) -> int:
    """Least number of frames a video must have for ``frames`` samples, uniform when ``stride`` is None."""
    return frames if stride is None else (frames - 1) * stride + 1


def sample_indices(count: int, frames: int, stride: int | None) -> list[int]:
    """Frame numbers of the clip: ``0, s, 2s, ...``, or ``round(linspace(0, count - 1, frames))`` when uniform.

    The uniform positions are rounded (half to even) as fractions, so no platform's floating point can move one.
    ``count`` must be at least ``frames_needed(frames, stride)``; then no frame is taken twice.
    """
    if stride is not None:
        return [i * stride for i in range(frames)]
    return [round(Fraction(i * (count - 1), frames - 1)) for i in range(frames)]
