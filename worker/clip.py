"""Holds the prepared clip: frames, flows and regions, fixed once by a digest that every later task checks."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from common.errors import ClipError, IntegrityError
from common.features import Partition, PartitionKind
from common.jobspec import DisSpec, FarnebackSpec, SamplingSpec
from worker.clip_cache import load_arrays, store_arrays
from worker.features import label_regions, region_sizes
from worker.flow import estimate_flow
from worker.video import decode_clip
from worker.video.runner import check_file

# Part of every cache key; to be raised whenever preparation gives other arrays from the same input.
_PREPARATION = 1


@dataclass(frozen=True)
class CoordinateTable:
    """For each coordinate j: its flow, its region in that flow, and its axis (0 = u, 1 = v); int64 ``[J]`` each."""

    t: npt.NDArray[np.int64]
    k: npt.NDArray[np.int64]
    axis: npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class PreparedClip:
    """A decoded clip with everything the game is played on; two clips are the same when their digests are.

    Coordinates are numbered by flow t, then region k, then axis (u before v).
    """

    frames: npt.NDArray[np.uint8]  #: RGB, ``[T, H, W, 3]``
    flow: npt.NDArray[np.float32]  #: pixels, ``[T-1, 2, H, W]``; u to the right, v down
    labels: npt.NDArray[np.int32]  #: region of each pixel, ``[T-1, H, W]``; dense in each flow
    video_sha256: str | None = None  #: of the file it was made from, where that is known; no part of the digest

    @cached_property
    def digest(self) -> str:
        """SHA-256 over the three arrays, with their shapes and types."""
        sha = hashlib.sha256()
        for array in (self.frames, self.flow, self.labels):
            sha.update(f"{array.dtype.str}{array.shape}".encode())
            sha.update(np.ascontiguousarray(array).data)
        return sha.hexdigest()

    @cached_property
    def region_sizes(self) -> list[list[int]]:
        """Pixels of each region, per flow."""
        return region_sizes(self.labels)

    @cached_property
    def coordinate_sizes(self) -> tuple[int, ...]:
        """Flow entries that coordinate j moves, ``n_j = |R_{t,k}|``, for every j in order."""
        return tuple(size for step in self.region_sizes for size in step for _axis in range(2))

    @cached_property
    def coordinate_offsets(self) -> npt.NDArray[np.int64]:
        """Number of the first coordinate of each flow, and at the end the number of coordinates; ``[T]``."""
        return np.cumsum([0, *(2 * len(step) for step in self.region_sizes)], dtype=np.int64)

    @cached_property
    def coordinate_table(self) -> CoordinateTable:
        """Flow, region and axis of every coordinate."""
        counts = np.diff(self.coordinate_offsets)
        t = np.repeat(np.arange(len(counts)), counts)
        within = np.arange(len(t)) - self.coordinate_offsets[t]
        return CoordinateTable(t, within // 2, within % 2)

    @cached_property
    def coordinate_index(self) -> npt.NDArray[np.int64]:
        """Number of the coordinate that moves each flow entry; ``[T-1, 2, H, W]``."""
        first = self.coordinate_offsets[:-1, None, None] + 2 * self.labels.astype(np.int64)
        return np.stack([first, first + 1], axis=1)


@dataclass(frozen=True)
class Influence:
    """What a ``saliency`` partition looks at beside the clip."""

    identity: str  #: names the model and the class, for the cache
    measure: Callable[[npt.NDArray[np.uint8], npt.NDArray[np.float32]], npt.NDArray[np.float64]]
    """Saliency ``[T-1, H, W]`` of frames ``[T, H, W, 3]`` and flow ``[T-1, 2, H, W]``."""


def prepare_clip(
    path: Path,
    sampling: SamplingSpec,
    flow_spec: FarnebackSpec | DisSpec,
    partition: Partition,
    max_bytes: int,
    influence: Influence | None = None,
) -> PreparedClip:
    """Decode a video, estimate its flows and divide them; raise ClipError, InputError or NumericalError.

    ``influence`` is needed where the partition is by saliency, and of no effect elsewhere.
    """
    frames = decode_clip(path, sampling, max_bytes)
    flow = estimate_flow(frames, flow_spec)
    by_saliency = partition.kind is PartitionKind.SALIENCY
    saliency = influence.measure(frames, flow) if by_saliency and influence is not None else None
    return PreparedClip(frames, flow, label_regions(partition, flow, saliency))


def load_or_prepare(
    path: Path,
    sampling: SamplingSpec,
    flow_spec: FarnebackSpec | DisSpec,
    partition: Partition,
    max_bytes: int,
    cache_dir: Path,
    expected_digest: str | None,
    influence: Influence | None = None,
) -> PreparedClip:
    """Take the prepared clip from the cache, or prepare it and store it there.

    Raises what ``prepare_clip`` raises, and IntegrityError when ``expected_digest`` is given and the clip has another.
    """
    # Before the first byte is read: a pipe would be waited for, and terabytes would be hashed.
    check_file(path)
    video = _file_sha256(path)
    entry = cache_dir / f"{_cache_key(video, sampling, flow_spec, partition, influence)}.clip"
    arrays = load_arrays(entry)
    if arrays is not None:
        clip = PreparedClip(arrays["frames"], arrays["flow"], arrays["labels"], video)
    else:
        clip = prepare_clip(path, sampling, flow_spec, partition, max_bytes, influence)
        if _file_sha256(path) != video:
            raise ClipError(str(path), "changed while it was being read")
        store_arrays(entry, {"frames": clip.frames, "flow": clip.flow, "labels": clip.labels})
        clip = replace(clip, video_sha256=video)
    if expected_digest is not None and clip.digest != expected_digest:
        raise IntegrityError(
            f"{path}: file changed since it was prepared, or this worker decodes it differently "
            f"(clip {clip.digest[:12]}, expected {expected_digest[:12]})"
        )
    return clip


def frames_tensor(clip: PreparedClip, dtype: torch.dtype) -> Tensor:
    """Return the clip's frames in [0, 1], ``[T, 3, H, W]``."""
    return torch.tensor(clip.frames).permute(0, 3, 1, 2).to(dtype).contiguous() / 255


def _file_sha256(path: Path) -> str | None:
    """SHA-256 of a file; None when it cannot be read, which the decoder then words for the user."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except (OSError, ValueError):
        return None


def _cache_key(
    video: str | None,
    sampling: SamplingSpec,
    flow: FarnebackSpec | DisSpec,
    partition: Partition,
    influence: Influence | None,
) -> str:
    """Name of a clip by its content: the video's bytes, how it is prepared, and the build that decodes it."""
    identity = {
        "video": video,
        "sampling": sampling.model_dump(mode="json"),
        "flow": flow.model_dump(mode="json"),
        "features": str(partition),
        "opencv": cv2.__version__,
        "preparation": _PREPARATION,
    }
    if influence is not None and partition.kind is PartitionKind.SALIENCY:
        identity["influence"] = influence.identity
    return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()
