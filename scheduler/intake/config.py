"""Decides what a user may ask for: the fields of ``flowcert submit``, from options and from a configuration file."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, field_validator, model_validator

from common.errors import InputError
from common.features import parse_partition
from common.jobspec import Lipschitz, Pixels, Seconds, check_stride_or_pause, first_problem, is_bearable
from common.printable import Printable, brief
from common.vocab import Norm
from scheduler.intake.classes import read_classes
from scheduler.intake.job_file import read_job_file
from scheduler.intake.paths import is_file, user_path

#: Points a clip may cost before it is left open, unless the user says otherwise.
DEFAULT_BUDGET = 200_000
#: Priorities go from minus this to this.
LAST_PRIORITY = 1000
#: Seconds of the units of a duration.
_UNITS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}
_PATHS = ("dataset", "root", "splits", "weights")
#: What the parts of a job call a field, where the user knows it by another name.
_USER_NAMES = {"args": "model_args", "height": "size", "width": "size", "name": "model"}


class JobConfig(BaseModel):
    """Everything a user says of a job; the fields are the options, and the keys of a configuration file."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    dataset: Printable = Field(min_length=1)
    root: Printable | None = None
    label: Printable | None = Field(default=None, min_length=1)
    only: tuple[Printable, ...] = Field(default=(), alias="class")
    split: str | None = None
    splits: Printable | None = None
    per_class: int | None = Field(default=None, ge=1)
    limit: int | None = Field(default=None, ge=1)
    model: Printable = Field(min_length=1)
    weights: Printable = Field(min_length=1)
    model_args: dict[str, Any] = Field(default_factory=dict)
    classes: tuple[Printable, ...] | None = Field(default=None, min_length=2)
    frames: int | None = Field(default=None, ge=2, le=1024)
    stride: int | None = Field(default=None, ge=1)
    every: Seconds | None = None
    size: str | None = Field(default=None, pattern=r"^[1-9]\d{0,4}x[1-9]\d{0,4}$")
    flow: Literal["farneback", "dis"] = "farneback"
    flow_args: dict[str, Any] = Field(default_factory=dict)
    features: str
    norm: Norm
    tau: Pixels
    radius: Pixels
    cap: int | None = Field(default=None, ge=1, le=120)
    continuous: bool = False
    lipschitz: Lipschitz | None = None
    heuristic: bool = False
    gradients: int | None = Field(default=None, ge=1)
    budget: int = Field(default=DEFAULT_BUDGET, ge=1, lt=2**63)
    clip_seconds: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    wall_time: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    priority: int | None = Field(default=None, ge=-LAST_PRIORITY, le=LAST_PRIORITY)

    @field_validator("dataset", "root", "splits", "weights")
    @classmethod
    def _possible_path(cls, given: str | None, info: Any) -> str | None:
        if given is not None:
            user_path(given, str(info.field_name))
        return given

    @field_validator("split")
    @classmethod
    def _list_name(cls, given: str | None) -> str | None:
        return None if given is None else read_split(given)

    @field_validator("features")
    @classmethod
    def _known_partition(cls, text: str) -> str:
        return str(parse_partition(text))

    @field_validator("lipschitz", mode="before")
    @classmethod
    def _constant_or_word(cls, given: Any) -> Any:
        try:
            number = Decimal(1 if given in (None, "estimated") else str(given))
            positive = number.is_finite() and number > 0 and is_bearable(number)
        except InvalidOperation:
            positive = False
        if not positive:
            problem = f"is neither 'estimated' nor a positive number of logits per pixel (given: {brief(given)})"
            raise InputError("lipschitz", problem)
        return given

    @field_validator("wall_time", mode="before")
    @classmethod
    def _duration(cls, given: Any) -> Any:
        return read_duration(given) if isinstance(given, str) else given

    @field_validator("only", mode="before")
    @classmethod
    def _one_or_more(cls, given: Any) -> Any:
        return (given,) if isinstance(given, str) else given

    @field_validator("classes", mode="before")
    @classmethod
    def _named_classes(cls, given: Any) -> Any:
        return read_classes(given) if isinstance(given, str) else given

    @field_validator("classes")
    @classmethod
    def _distinct(cls, names: tuple[str, ...] | None) -> tuple[str, ...] | None:
        if names is not None and len(set(names)) < len(names):
            raise InputError("classes", "a class is named twice")
        return names

    @field_validator("model_args", "flow_args", mode="before")
    @classmethod
    def _json_object(cls, given: Any, info: Any) -> Any:
        try:
            value = json.loads(given) if isinstance(given, str) else given
            # Whatever is kept must be JSON: YAML has dates and NaN, and Python reads NaN in JSON too.
            return json.loads(json.dumps(value, allow_nan=False))
        except (RecursionError, TypeError, ValueError) as error:
            raise InputError(str(info.field_name), f"is not a JSON object: {error}") from error

    @model_validator(mode="after")
    def _stride_or_pause(self) -> Self:
        # A specification checks it too, but only after the model has run.
        check_stride_or_pause(self.stride, self.every)
        return self

    @property
    def height_width(self) -> tuple[int, int] | None:
        """Frame height and width in pixels, where given."""
        if self.size is None:
            return None
        height, width = self.size.split("x")
        return int(height), int(width)


@dataclass(frozen=True)
class JobRequest:
    """A validated request, which remembers where each field came from, so that problems can be named there."""

    config: JobConfig
    file: Path | None
    from_file: frozenset[str]

    def at(self, field: str) -> str:
        """Name a field as the user wrote it: the option, or the file and its key."""
        return _name(field, self.file, self.from_file)

    def located(self, problem: InputError | ValidationError) -> InputError:
        """Restate a problem of a job's part at the option or key it comes from."""
        return _located(problem, self.file, self.from_file)


def read_request(options: Mapping[str, Any], file: Path | None) -> JobRequest:
    """Join options (those that are not None) with a configuration file, which they override; validate the whole.

    Relative paths in the file start at the file's folder. Raises InputError, one line naming the option or the file
    and its key.
    """
    from_file = {} if file is None else _read_file(file)
    given = {key: value for key, value in options.items() if value is not None}
    origin = frozenset(from_file.keys() - given.keys())
    try:
        return JobRequest(JobConfig.model_validate({**from_file, **given}), file, origin)
    except (ValidationError, InputError) as error:
        raise _located(error, file, origin) from error


def read_duration(given: str) -> float:
    """Read a duration: a number of seconds, or of the unit behind it (s, m, h, d); returns seconds."""
    matched = re.fullmatch(r"(\d{1,9}(?:\.\d{1,9})?)([smhd]?)", given.strip(), re.ASCII)
    if matched is None:
        raise InputError("wall_time", f"{brief(given)} is no duration, such as 90s, 30m, 1.5h or 2d")
    return float(matched[1]) * _UNITS[matched[2]]


def read_split(given: str) -> str:
    """Read the name of an official list, with or without its suffix."""
    name = given.removesuffix(".txt")
    if not re.fullmatch(r"[\w-]+", name, re.ASCII):
        problem = f"{brief(given)} is no name of an official list, such as testlist01; --splits says where"
        raise InputError("split", problem)
    return name


def read_every(given: str) -> Decimal:
    """Read a pause between frames, in seconds."""
    try:
        return TypeAdapter(Seconds).validate_python(given)
    except ValidationError as error:
        raise InputError("--every", first_problem(error).problem) from error


def _read_file(file: Path) -> dict[str, Any]:
    """Read a configuration file; its relative paths start in its folder."""
    document, base = read_job_file(file), file.absolute().parent
    for key in _PATHS:
        if isinstance(document.get(key), str):
            document[key] = str(user_path(document[key], f"{file}: {key}", base))
    if isinstance(document.get("classes"), str) and is_file(base / document["classes"]):
        document["classes"] = str(base / document["classes"])
    return document


def _name(field: str, file: Path | None, from_file: frozenset[str]) -> str:
    if field in from_file:
        return f"{file}: {field}"
    return "DATASET" if field == "dataset" else f"--{field.replace('_', '-')}"


def _located(problem: InputError | ValidationError, file: Path | None, from_file: frozenset[str]) -> InputError:
    if isinstance(problem, ValidationError):
        details = problem.errors()
        # A misspelt key comes first: the field that is missing may be the one it was meant to be.
        detail = next((each for each in details if each["type"] == "extra_forbidden"), details[0])
        if detail["type"] == "missing":
            missing = [_name(str(each["loc"][0]), file, from_file) for each in details if each["type"] == "missing"]
            return InputError(", ".join(missing), "is required" if len(missing) == 1 else "are required")
        if detail["type"] == "extra_forbidden":
            known = ", ".join(field.alias or name for name, field in JobConfig.model_fields.items())
            return InputError(_name(str(detail["loc"][0]), file, from_file), f"is no field of a job; known: {known}")
        problem = first_problem(problem)
    # Some parts already name the option; a nested field is named by the option it is given in.
    field, _, inner = problem.where.removeprefix("--").replace("-", "_").partition(".")
    where = _name(_USER_NAMES.get(field, field), file, from_file)
    return InputError(f"{where}: {inner}" if inner else where, problem.problem)
