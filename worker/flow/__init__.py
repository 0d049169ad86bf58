"""Estimates the optical flow between the frames of a clip, by the method a job names."""

from __future__ import annotations

from worker.flow.estimate import estimate_flow

__all__ = ["estimate_flow"]
