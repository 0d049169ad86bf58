"""Decides how a training gets its clips: decoded once, as bytes, and kept on disk by their video's content."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import cv2
import numpy as np
import torch
from torch import Tensor, nn

from common.errors import ClipError, NumericalError
from common.jobspec import SamplingSpec
from worker.clip_cache import load_arrays, store_arrays
from worker.models.frame_model import FrameModel
from worker.training.request import Clip
from worker.video import decode_clip

# Part of every key; to be raised whenever the same video and model give other arrays.
_VERSION: Final = 1
#: Bytes of decoded clips that are kept in memory; more are read again from disk.
_MEMORY: Final = 2**30
#: Frames that are encoded at once.
_FRAMES: Final = 16

#: Told how many are done, of how many.
Told = Callable[[int, int], None]


@dataclass(frozen=True)
class Examples:
    """What a model learns from: inputs by number, and their labels."""

    inputs: Callable[[Sequence[int]], Tensor]  #: clips ``[B, T, 3, H, W]`` in [0, 1], or features ``[B, T, F]``
    labels: Tensor  #: ``[N]``

    def chosen(self, numbers: Sequence[int]) -> Examples:
        """The examples of these numbers, numbered anew."""
        picked = list(numbers)
        return Examples(lambda some: self.inputs([picked[i] for i in some]), self.labels[picked])


@dataclass
class ClipStore:
    """Decoded clips by number, and the digest of each video's content."""

    clips: Sequence[Clip]
    sampling: SamplingSpec
    max_bytes: int
    cache: Path
    digests: list[str] = field(default_factory=list)
    _held: dict[int, Tensor] = field(default_factory=dict)

    def prepare(self, told: Told) -> None:
        """Decode what is not decoded yet; raises ClipError, which names the file, for a video that cannot be used."""
        for number, clip in enumerate(self.clips):
            try:
                content = clip.path.read_bytes()
            except OSError as error:
                raise ClipError(str(clip.path), f"cannot be read ({error.strerror})") from error
            self.digests.append(hashlib.sha256(content).hexdigest())
            self._clip(number)
            told(number + 1, len(self.clips))

    def key(self, number: int) -> str:
        """What a decoded clip depends on."""
        return f"{_VERSION} {cv2.__version__} {self.sampling.model_dump_json()} {self.digests[number]}"

    def frames(self, number: int) -> Tensor:
        """Frames of a clip, uint8 ``[T, 3, H, W]``."""
        return self._clip(number).permute(0, 3, 1, 2)

    def batch(self, numbers: Sequence[int]) -> Tensor:
        """Clips ``[B, T, 3, H, W]``, RGB in [0, 1]."""
        return torch.stack([self.frames(number) for number in numbers]).float() / 255.0

    def _clip(self, number: int) -> Tensor:
        held = self._held.get(number)
        if held is not None:
            return held
        entry = _entry(self.cache, "clip", self.key(number))
        stored = load_arrays(entry)
        if stored is None:
            stored = {"frames": decode_clip(self.clips[number].path, self.sampling, self.max_bytes)}
            store_arrays(entry, stored)
        clip = torch.from_numpy(stored["frames"])
        if (len(self._held) + 1) * clip.numel() <= _MEMORY:
            self._held[number] = clip
        return clip


def encode_clips(store: ClipStore, module: nn.Module, encoder: str, device: torch.device, told: Told) -> Tensor:
    """Features ``[N, T, F]`` of all clips under a frozen encoder, whose weights have the digest ``encoder``."""
    if not isinstance(module, FrameModel):
        raise TypeError(f"{type(module).__name__} does not encode frames one by one")
    found = []
    for number in range(len(store.clips)):
        entry = _entry(store.cache, "features", f"{encoder} {store.key(number)}")
        stored = load_arrays(entry)
        if stored is None:
            with torch.inference_mode():
                frames = torch.split(store.frames(number).to(device), _FRAMES)
                parts = [module.encode(part.float() / 255.0) for part in frames]
            stored = {"features": torch.cat(parts).cpu().numpy()}
            store_arrays(entry, stored)
        if not np.isfinite(stored["features"]).all():
            raise NumericalError(f"the encoder gave NaN or infinite features for {store.clips[number].path}")
        found.append(torch.from_numpy(stored["features"]))
        told(number + 1, len(store.clips))
    return torch.stack(found)


def _entry(cache: Path, kind: str, key: str) -> Path:
    digest = hashlib.sha256(f"{kind} {key}".encode()).hexdigest()
    return cache / kind / f"{digest}.npz"
