"""Decides how weights files are read, checked and written; nothing in them is ever executed."""

from __future__ import annotations

import hashlib
import io
import json
import os
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

import safetensors
import safetensors.torch
import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator
from torch import Tensor, nn

from common.errors import HostError, InputError
from common.jobspec import Seconds
from common.printable import Printable, brief, visible
from worker.models.pickles import unsuitable
from worker.models.registry import SHIPPED_ENCODERS, ShippedEncoder, implied_args
from worker.models.tensors import check_tensors

_METADATA_KEY: Final = "flowcert"
_TORCH_SUFFIXES: Final = (".pt", ".pth")
#: Characters of what Flowcert writes beside the tensors; a thousand class names are a third of it.
_MOST_METADATA: Final = 2**16
#: Bytes of a weights file, and of what it unpacks to, above which it is refused unread.
MOST_BYTES: Final = 2**32


@dataclass(frozen=True)
class WeightsInfo:
    """What a job needs to know about a weights file; a field is None where neither user nor file says it."""

    sha256: str
    classes: tuple[str, ...] | None  #: class names in the order of the logits
    args: dict[str, Any]  #: keyword arguments of the model's constructor
    frames: int | None  #: frames per clip the model was trained on
    height: int | None  #: frame height, in pixels
    width: int | None  #: frame width, in pixels
    every: Decimal | None = None  #: pause between frames the model was trained on, in seconds


class Metadata(BaseModel):
    """What a weights file written by Flowcert says of its model."""

    model_config = ConfigDict(frozen=True)

    name: str
    args: dict[str, Any]
    classes: tuple[Printable, ...] = Field(min_length=2)
    frames: int = Field(ge=2)
    height: int = Field(ge=1)
    width: int = Field(ge=1)
    #: SHA-256 of the shipped encoder that the tensors leave out; None where they are the whole model.
    encoder: str | None = None
    #: Pause between the frames of a clip, in seconds; None where they are spread evenly. Left out then: the same
    #: training writes the same bytes as before there were pauses.
    every: Seconds | None = Field(default=None, exclude_if=lambda every: every is None)

    @field_validator("args")
    @classmethod
    def _strict_json(cls, args: dict[str, Any]) -> dict[str, Any]:
        json.dumps(args, allow_nan=False)
        return args


@dataclass(frozen=True)
class WeightsFile:
    """A weights file, read once: its tensors by parameter name and the hash of the very bytes they came from."""

    tensors: dict[str, Tensor]
    metadata: Metadata | None  #: what Flowcert wrote beside the tensors, if it did
    sha256: str


def read_weights(path: Path, pinned: str | None = None) -> WeightsFile:
    """Read a ``.safetensors`` file, or a ``.pt``/``.pth`` state dict without unpickling any code.

    A shipped encoder that the file leaves out is put in. Raises HostError when the file cannot be read, or its SHA-256
    is not the ``pinned`` one where that is given; InputError when it is of another type, too large, corrupt, no state
    dict, holds NaN or infinity, or leaves out an encoder not known here. The message is one line that names the file.
    """
    if path.suffix not in (".safetensors", *_TORCH_SUFFIXES):
        raise InputError("weights", f"{path}: must be a .safetensors file, or a .pt/.pth state dict")
    data = _bytes(path)
    found = hashlib.sha256(data).hexdigest()
    if pinned not in (None, found):
        # Before it is parsed: what is wrong with another file's content is not this job's fault.
        raise HostError("weights", f"{path}: has SHA-256 {found}, but the job was submitted with {pinned}")
    tensors, text = _parse_torch(path, data) if path.suffix in _TORCH_SUFFIXES else _parse_safetensors(path, data)
    metadata = None if text is None else _parse_metadata(path, text)
    check_tensors(path, tensors, MOST_BYTES)
    if metadata is not None and metadata.encoder is not None:
        tensors |= _left_out(path, metadata).load()
    return WeightsFile(tensors, metadata, found)


def _bytes(path: Path) -> bytes:
    """Read a whole file, once: what is hashed is what is parsed."""
    try:
        # Asked first: opening a pipe would wait for whoever writes to it.
        if not path.is_file():
            path.stat()
            raise HostError("weights", f"{path}: cannot be read (it is no ordinary file)")
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            data = file.read() if size <= MOST_BYTES else b""
    except OSError as error:
        raise HostError("weights", f"{path}: cannot be read ({error.strerror})") from error
    if size > MOST_BYTES:
        raise InputError("weights", f"{path}: has {size} bytes, {MOST_BYTES} are allowed")
    return data


def inspect_weights(
    name: str,
    weights: Path,
    args: Mapping[str, Any],
    classes: tuple[str, ...] | None,
    *,
    frames: int | None = None,
    height: int | None = None,
    width: int | None = None,
) -> WeightsInfo:
    """Join what the user says of the model ``name`` with what its weights file says; the user's word wins.

    For registered models, ``args`` is completed by the number of classes and the frame size.

    Raises InputError when the file is unusable or was written for another model or number of classes.
    """
    file = read_weights(weights)
    known = file.metadata
    if known is not None:
        if known.name != name:
            raise InputError("weights", f"{weights}: was saved for the model {known.name!r}, not for {name!r}")
        if classes is not None and len(classes) != len(known.classes):
            problem = f"{weights}: was saved for {len(known.classes)} classes, but {len(classes)} are named"
            raise InputError("weights", problem)
        classes = known.classes if classes is None else classes
        frames = known.frames if frames is None else frames
        height = known.height if height is None else height
        width = known.width if width is None else width
    sizes = {"classes": None if classes is None else len(classes), "height": height, "width": width}
    saved = {} if known is None else known.args
    joined = {**saved, **implied_args(name, sizes), **args}
    every = None if known is None else known.every
    return WeightsInfo(file.sha256, classes, joined, frames, height, width, every)


def save_weights(
    path: Path,
    module: nn.Module,
    *,
    name: str,
    args: Mapping[str, Any],
    classes: tuple[str, ...],
    frames: int,
    height: int,
    width: int,
    every: Decimal | None = None,
) -> None:
    """Write a module's weights as safetensors, with all that ``flowcert submit`` needs to use them unasked.

    An encoder that is still the shipped one is left out, and named by its hash instead.
    """
    tensors = {key: value.detach().cpu().contiguous() for key, value in module.state_dict().items()}
    shipped = SHIPPED_ENCODERS.get(name)
    encoder = None
    if shipped is not None:
        state = shipped.load()
        if all(torch.equal(value, tensors[key]) for key, value in state.items()):
            encoder, tensors = shipped.sha256, {key: value for key, value in tensors.items() if key not in state}
    known = Metadata(
        name=name, args=dict(args), classes=classes, frames=frames, height=height, width=width, encoder=encoder,
        every=every,
    )  # fmt: skip
    # Written by us, since save_file makes a file that only its owner, not another user's worker, may read.
    path.write_bytes(safetensors.torch.save(tensors, metadata={_METADATA_KEY: known.model_dump_json()}))


def _left_out(path: Path, metadata: Metadata) -> ShippedEncoder:
    shipped = SHIPPED_ENCODERS.get(metadata.name)
    if shipped is None or shipped.sha256 != metadata.encoder:
        raise InputError("weights", f"{path}: was saved with an encoder of another version of Flowcert")
    return shipped


def _parse_safetensors(path: Path, data: bytes) -> tuple[dict[str, Tensor], str | None]:
    try:
        tensors = safetensors.torch.load(data)
        # The format: eight bytes of header length, then the header as JSON; it was just found valid.
        size = int.from_bytes(data[:8], "little")
        header = json.loads(data[8 : 8 + size])
    # The library finds some headers valid and then fails at types, or at sizes, that torch does not have.
    except (safetensors.SafetensorError, KeyError, RuntimeError, TypeError, ValueError) as error:
        reason = visible(" ".join(str(error).split()))[:300]
        raise InputError("weights", f"{path}: is not a usable safetensors file ({reason})") from error
    return tensors, (header.get("__metadata__") or {}).get(_METADATA_KEY)


def _unpacked_bytes(path: Path, data: bytes) -> int:
    """Bytes that an archive unpacks to; 0 for what is none."""
    try:
        if not zipfile.is_zipfile(io.BytesIO(data)):
            return 0
        return sum(entry.file_size for entry in zipfile.ZipFile(io.BytesIO(data)).infolist())
    except (zipfile.BadZipFile, LookupError, NotImplementedError, ValueError) as error:
        raise InputError("weights", f"{path}: is a damaged archive") from error


def _parse_torch(path: Path, data: bytes) -> tuple[dict[str, Tensor], None]:
    unpacked = _unpacked_bytes(path, data)
    if unpacked > MOST_BYTES:
        raise InputError("weights", f"{path}: unpacks to {unpacked} bytes, {MOST_BYTES} are allowed")
    found = unsuitable(data)
    if found is not None:
        problem = f"{path}: is not a state dict that can be read without running code ({visible(found)[:300]})"
        raise InputError("weights", problem)
    try:
        state = torch.load(io.BytesIO(data), weights_only=True, map_location="cpu")
    except Exception as error:  # torch.load raises whatever a corrupt file provokes.
        problem = "is not a state dict that can be read without running code; save model.state_dict()"
        raise InputError("weights", f"{path}: {problem}") from error
    if not isinstance(state, dict) or not all(isinstance(key, str) for key in state):
        raise InputError("weights", f"{path}: holds no state dict (parameter names with tensors)")
    for key, value in state.items():
        if not isinstance(value, Tensor):
            raise InputError("weights", f"{path}: entry {brief(key)} is no tensor; save model.state_dict() itself")
    return state, None


def _parse_metadata(path: Path, text: str) -> Metadata:
    if len(text) > _MOST_METADATA:
        raise InputError("weights", f"{path}: metadata {_METADATA_KEY!r} has more than {_MOST_METADATA} characters")
    try:
        return Metadata.model_validate_json(text)
    except ValidationError as error:
        detail = error.errors()[0]
        field = ".".join(str(part) for part in detail["loc"]) or "text"
        raise InputError(
            "weights", f"{path}: metadata {_METADATA_KEY!r} is wrong at {visible(field)[:200]}: {detail['msg']}"
        ) from error
