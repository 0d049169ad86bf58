"""Decides what a job is: the validated fields of ``flowcert submit``, shared by command line, database and workers."""

from __future__ import annotations

import hashlib
import json
from decimal import Decimal
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    PlainSerializer,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_core import PydanticCustomError

from common.errors import InputError
from common.features import Partition, parse_partition
from common.printable import brief
from common.vocab import Guarantee, Norm

#: Decimal digits that survive being written as text, and the tens exponents a number of pixels or logits may have.
_MOST_DIGITS, _EXPONENTS = 28, range(-40, 13)


def is_bearable(number: Decimal) -> bool:
    """Whether exact arithmetic can bear a number: an exponent of a billion is a few bytes to write."""
    _, digits, last = number.as_tuple()
    return len(digits) <= _MOST_DIGITS and number.adjusted() in _EXPONENTS and last in _EXPONENTS


def _bearable(number: Decimal) -> Decimal:
    if not is_bearable(number):
        raise PydanticCustomError("bearable", "must be below 1e13 and have at most 28 digits and 40 decimal places")
    return number


# Written as decimal text in JSON, so that τ = 0.1 means one tenth on both sides and hashes the same for ever.
_AS_TEXT = PlainSerializer(lambda d: format(d.normalize(), "f"), return_type=str)
Positive = Annotated[Decimal, Field(gt=0, allow_inf_nan=False), AfterValidator(_bearable), _AS_TEXT]
Pixels = Positive
#: A pause between frames, in whole microseconds as videos are timed; no zeros at its end, for messages show it.
Seconds = Annotated[
    Decimal,
    Field(gt=0, le=86_400, decimal_places=6, allow_inf_nan=False),
    AfterValidator(Decimal.normalize),
    _AS_TEXT,
]
#: A Lipschitz constant of the margin: a number, in logits per pixel of the norm, or the word that has it estimated.
Lipschitz = Literal["estimated"] | Positive
#: Fields that came later; a specification without them is the same job as before.
_LATER_FIELDS = ("continuous", "lipschitz", "heuristic", "gradients")


class _Spec(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class FarnebackSpec(_Spec):
    """Farnebäck's dense flow; the fields are OpenCV's, with its usual values."""

    method: Literal["farneback"] = "farneback"
    pyr_scale: float = Field(default=0.5, gt=0, lt=1, description="image scale between pyramid levels")
    levels: int = Field(default=3, ge=1, le=10, description="pyramid levels, the first image included")
    winsize: int = Field(default=9, ge=1, description="averaging window, in pixels")
    iterations: int = Field(default=3, ge=1, description="iterations at each pyramid level")
    poly_n: Literal[5, 7] = Field(default=5, description="neighbourhood of the polynomial expansion, in pixels")
    poly_sigma: float = Field(default=1.2, gt=0, description="Gaussian width of the expansion, in pixels")


class DisSpec(_Spec):
    """Dense inverse search flow, with one of OpenCV's presets."""

    method: Literal["dis"] = "dis"
    preset: Literal["ultrafast", "fast", "medium"] = "medium"


class SamplingSpec(_Spec):
    """Which frames of a video make the clip: ``frames`` spread evenly, or from the first on a stride or a pause apart.

    The pause, ``every``, came later: where it is absent it is left out of JSON too, so that jobs and cached clips,
    which are named by digests of this JSON, keep their names.
    """

    frames: int = Field(ge=2, le=1024, description="frames per clip, l")
    stride: int | None = Field(default=None, ge=1, description="fixed stride in frames; uniform when absent")
    every: Seconds | None = Field(
        default=None, exclude_if=lambda every: every is None, description="pause between frames, in seconds of video"
    )
    height: int = Field(ge=8, le=1024, description="frame height the model takes, in pixels")
    width: int = Field(ge=8, le=1024, description="frame width the model takes, in pixels")

    @model_validator(mode="after")
    def _stride_or_pause(self) -> Self:
        check_stride_or_pause(self.stride, self.every)
        return self


class ModelSpec(_Spec):
    """Which classifier is certified; ``sha256`` pins the weights every worker must have loaded."""

    name: str = Field(description="registered model name, or module:callable of a factory")
    weights: str = Field(description="absolute path of a .safetensors file, or of a .pt/.pth state dict")
    args: dict[str, Any] = Field(default_factory=dict, description="keyword arguments of the model's constructor")
    classes: tuple[str, ...] = Field(min_length=2, description="class names in the order of the logits")
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$", description="SHA-256 of the weights file")


class JobSpec(_Spec):
    """Everything that fixes what a job's bounds mean; two jobs with equal specs are the same job."""

    dataset: str = Field(description="absolute path of the dataset folder, list file or single video")
    model: ModelSpec
    sampling: SamplingSpec
    flow: FarnebackSpec | DisSpec = Field(discriminator="method")
    features: str = Field(description="feature partition: global, grid:RxC, superpixel:K, saliency:K or pixel")
    norm: Norm
    tau: Pixels = Field(description="size of an atomic manipulation, in pixels")
    radius: Pixels = Field(description="search radius d, a flow distance in pixels of the norm")
    cap: int | None = Field(default=None, ge=1, le=120, description="greatest |a_j| of any coordinate")
    continuous: bool = Field(default=False, description="whether to certify a radius for all real changes too")
    lipschitz: Lipschitz | None = Field(
        default=None, description="the margin's Lipschitz constant, in logits per pixel of the norm, or 'estimated'"
    )
    heuristic: bool = Field(default=False, description="whether the search is guided by h = margin / lipschitz")
    gradients: int | None = Field(default=None, ge=1, description="gradients after which an attack ends")

    @field_validator("features")
    @classmethod
    def _known_partition(cls, text: str) -> str:
        return str(parse_partition(text))

    @model_validator(mode="after")
    def _heuristic_has_constant(self) -> Self:
        if self.heuristic and self.lipschitz is None:
            raise InputError("heuristic", "needs a Lipschitz constant: give --lipschitz a number, or 'estimated'")
        return self

    @property
    def partition(self) -> Partition:
        """The feature partition, parsed."""
        return parse_partition(self.features)

    @property
    def lipschitz_guarantee(self) -> Guarantee:
        """What a bound is worth that rests on the job's Lipschitz constant."""
        return Guarantee.LIPSCHITZ_ESTIMATED if self.lipschitz == "estimated" else Guarantee.LIPSCHITZ_ASSUMED

    @property
    def search_guarantee(self) -> Guarantee:
        """What the job's lower bounds on FMSR are worth."""
        return self.lipschitz_guarantee if self.heuristic else Guarantee.GRID

    def digest(self) -> str:
        """SHA-256 of the canonical JSON form: the identity by which a repeated submit resumes."""
        fields = self.model_dump(mode="json")
        known = {key: value for key, value in fields.items() if value or key not in _LATER_FIELDS}
        canonical = json.dumps(known, sort_keys=True, allow_nan=False)
        return hashlib.sha256(canonical.encode()).hexdigest()


def check_stride_or_pause(stride: int | None, every: Decimal | None) -> None:
    """Raise InputError at the pause when a stride is given too: both say how far apart a clip's frames are."""
    if stride is not None and every is not None:
        raise InputError("every", f"cannot be given together with --stride {stride}; leave out one of them")


def first_problem(error: ValidationError, whole: str = "job") -> InputError:
    """Turn pydantic's report into one line that names the first wrong field as it was written, or the ``whole``."""
    detail = error.errors()[0]
    inner = detail.get("ctx", {}).get("error")
    if isinstance(inner, InputError):
        return inner
    where = ".".join(str(part) for part in detail["loc"]) or whole
    given = "" if detail["type"] == "missing" else f" (given: {brief(detail['input'])})"
    return InputError(where, f"{detail['msg'][0].lower()}{detail['msg'][1:]}{given}")
