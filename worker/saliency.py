"""Decides how much each pixel's flow moves the margin: what ``saliency`` partitions are cut by."""

from __future__ import annotations

import copy

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from common.game import ROOT
from common.jobspec import JobSpec
from worker.clip import Influence, PreparedClip
from worker.plain import PlainEvaluator


def influence_of(spec: JobSpec, label: str, module: nn.Module) -> Influence:
    """Influence on the margin of class ``label``, in float64 on the CPU, so that every worker finds the same regions.

    Saliency is the length of the margin's gradient with respect to a pixel's flow (u, v), at the unchanged clip, in
    logits per pixel (K. Simonyan et al., *Deep inside convolutional networks*, ICLR workshop 2014, for frames).
    """

    def measure(frames: npt.NDArray[np.uint8], flow: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
        steps, _, height, width = flow.shape
        every_pixel = np.arange(height * width, dtype=np.int32).reshape(1, height, width).repeat(steps, axis=0)
        clip = PreparedClip(frames, flow, every_pixel)
        exact = copy.deepcopy(module).cpu().double()
        plain = PlainEvaluator(clip, exact, 1.0, torch.device("cpu"), batch=1, dtype=torch.float64)
        _, gradient = plain.margin_gradient(ROOT, spec.model.classes.index(label))
        return np.asarray(np.hypot(gradient[0::2], gradient[1::2]).reshape(steps, height, width))

    return Influence(f"{spec.model.sha256}:{label}", measure)
