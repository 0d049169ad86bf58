"""Decides what a training may be asked for: the document that ``flowcert train`` sends, checked before any work."""

from __future__ import annotations

import hashlib
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from common.errors import InputError
from common.jobspec import SamplingSpec, Seconds
from worker.models import MODELS, build
from worker.models.registry import ENCODER_STATES, SHIPPED_ENCODERS, implied_args

#: Word for the encoder weights that Flowcert's dependencies ship.
IMAGENET: Final = "imagenet"
_SIZE: Final = 64
#: Frame sizes that published encoders were trained on, in pixels.
_PUBLISHED_SIZES: Final = MappingProxyType({"vgg16_lstm": 224, "efficientnet_lite0_lstm": 224})


class _Document(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Clip(_Document):
    """A video and its class."""

    label: str
    path: Path


class TrainRequest(_Document):
    """Everything that is said of a training; fields are the options of ``flowcert train``."""

    clips: tuple[Clip, ...]
    test_clips: tuple[Clip, ...] = ()
    classes: tuple[str, ...] = Field(min_length=2)
    model: str
    model_args: dict[str, Any] = Field(default_factory=dict)
    frames: int = Field(default=16, ge=2, le=1024)
    every: Seconds | None = None
    height: int | None = Field(default=None, ge=8, le=1024)
    width: int | None = Field(default=None, ge=8, le=1024)
    epochs: int = Field(default=50, ge=1)
    minutes: float | None = Field(default=None, gt=0)
    rate: float = Field(default=1e-3, gt=0)
    batch: int = Field(default=16, ge=1)
    seed: int = Field(default=0, ge=0, lt=2**31)
    augment: bool = False
    freeze_encoder: bool = False
    encoder_weights: str | None = None
    validation_share: float = Field(default=0.2, ge=0, lt=1)
    validation_groups: tuple[int, ...] | None = None
    out: Path
    cache: Path
    max_bytes: int = Field(gt=0)
    threads: int = Field(default=1, ge=1)

    @field_validator("model")
    @classmethod
    def _registered(cls, name: str) -> str:
        if name not in MODELS:
            raise InputError("model", f"{name!r} is not one of {', '.join(MODELS)}, which can be trained here")
        return name

    @field_validator("out")
    @classmethod
    def _weights_file(cls, out: Path) -> Path:
        if out.suffix != ".safetensors":
            raise InputError("out", f"{out}: must be a .safetensors file")
        if not out.parent.is_dir():
            raise InputError("out", f"{out}: there is no folder {out.parent}")
        return out

    @model_validator(mode="after")
    def _encoder(self) -> Self:
        if self.encoder_weights is None:
            if self.freeze_encoder:
                problem = "would keep an encoder that was never trained; pass --encoder-weights too"
                raise InputError("freeze_encoder", problem)
        elif self.model not in ENCODER_STATES:
            known = ", ".join(ENCODER_STATES)
            raise InputError("encoder_weights", f"{self.model} has no published encoder; these have: {known}")
        elif self.encoder_weights == IMAGENET and self.model not in SHIPPED_ENCODERS:
            problem = (
                f"no ImageNet weights of {self.model} come with Flowcert; pass a file, such as torchvision's vgg16"
            )
            raise InputError("encoder_weights", problem)
        if self.freeze_encoder and self.augment:
            raise InputError("augment", "changes clips anew in every epoch; a frozen encoder sees each clip only once")
        return self

    @model_validator(mode="after")
    def _labels(self) -> Self:
        if len(set(self.classes)) < len(self.classes):
            raise InputError("classes", "a class is named twice")
        for part, option in ((self.clips, "DATASET"), (self.test_clips, "test_split")):
            present = {clip.label for clip in part}
            missing = next((name for name in self.classes if part and name not in present), None)
            if missing is not None and option == "DATASET":
                raise InputError(option, f"has no clip of the class {missing!r}")
            unknown = next((clip for clip in part if clip.label not in self.classes), None)
            if unknown is not None:
                raise InputError(option, f"{unknown.path}: its label {unknown.label!r} is none of the classes")
        return self

    @property
    def sampling(self) -> SamplingSpec:
        """Shape of the clips; the model's usual one where nothing is said."""
        size = _PUBLISHED_SIZES.get(self.model, _SIZE)
        return SamplingSpec(frames=self.frames, every=self.every, height=self.height or size, width=self.width or size)

    @property
    def args(self) -> dict[str, Any]:
        """All arguments of the model's constructor."""
        sampling = self.sampling
        sizes = {"classes": len(self.classes), "height": sampling.height, "width": sampling.width}
        return {**implied_args(self.model, sizes), **self.model_args}

    def check_model(self) -> None:
        """Raise InputError when the model's constructor refuses its arguments."""
        build(self.model, self.args)

    def identity(self, digests: list[str], encoder: str) -> dict[str, Any]:
        """Everything that decides the trained weights, by option; equal identities train equal weights.

        ``digests`` are of the clips' contents, ``encoder`` is of the weights that the encoder starts from.
        """
        own = {"epochs", "rate", "batch", "seed", "augment", "freeze_encoder", "validation_share", "validation_groups"}
        labelled = zip(digests, (clip.label for clip in self.clips), strict=True)
        clips = hashlib.sha256("\n".join(f"{digest} {label}" for digest, label in labelled).encode()).hexdigest()
        return self.model_dump(include={"model", "classes", "frames", "every", *own}, mode="json") | {
            "model_args": self.args,
            "size": f"{self.sampling.height}x{self.sampling.width}",
            "encoder_weights": encoder,
            "DATASET": clips,
        }
