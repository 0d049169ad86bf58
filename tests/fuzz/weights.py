"""Fuzzes weights files: harmed ones, headers and metadata that promise anything, pickles that name anything."""

from __future__ import annotations

import json
import pickle
import pickletools
import struct
import tempfile
import warnings
from pathlib import Path
from random import Random
from typing import Any, Self

import safetensors.torch
import torch

from common.errors import HostError, InputError, NumericalError
from common.jobspec import ModelSpec, SamplingSpec
from tests.fuzz.mutate import NUMBERS, harm, mutate, odd_text
from tests.fuzz.target import Plain, check_refusal
from worker.models import build, check_forward, inspect_weights, load_model, save_weights

_ARGS = {"classes": 3, "height": 8, "width": 8, "hidden": 4, "channels": [2]}
_TYPES = ("F32", "F64", "F16", "BF16", "I64", "U8", "BOOL", "C64", "F4", "F8_E4M3", "F8_E8M0", "U64", "X", "")
_CODE = (
    (bytearray, (2**40,)), (torch.Tensor, (2**40,)), (torch.FloatTensor, (2**36,)), (eval, ("1",)), (set, ([1],)),
    (torch.zeros, (2**40,)), (getattr, ("x", "upper")), (torch.device, ("meta",)), (print, ("said",)),
)  # fmt: skip


class Named:
    """Unpickled, it calls something."""

    def __init__(self, call: tuple[Any, tuple[Any, ...]]) -> None:
        self.call = call

    def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
        return self.call


class Weights(Plain):
    """Weights files, as far as a model that gives logits."""

    name = "weights"

    def __enter__(self) -> Self:
        self._folder = tempfile.TemporaryDirectory(prefix="flowcert-fuzz-")
        self.folder = Path(self._folder.name)
        torch.manual_seed(0)
        self.module = build("cnn_lstm", _ARGS)
        self.state = self.module.state_dict()
        path = self.folder / "good.safetensors"
        save_weights(
            path, self.module, name="cnn_lstm", args=_ARGS, classes=("a", "b", "c"), frames=2, height=8, width=8
        )
        self.safe = path.read_bytes()
        self.pickled = {}
        for old in (False, True):
            torch.save(self.state, self.folder / "good.pt", _use_new_zipfile_serialization=not old)
            self.pickled[old] = (self.folder / "good.pt").read_bytes()
        return self

    def __exit__(self, *_: object) -> None:
        self._folder.cleanup()

    def attempt(self, rng: Random) -> list[tuple[str, str]]:
        """Read one file; what is accepted gives finite logits, or is refused for giving none."""
        kind, draw, suffix = rng.choice(
            (("safetensors, harmed", lambda: mutate(self.safe, rng), ".safetensors"),
             ("safetensors, odd header", lambda: self._odd_header(rng), ".safetensors"),
             ("safetensors, odd metadata", lambda: self._odd_metadata(rng), ".safetensors"),
             ("state dict, harmed", lambda: mutate(self.pickled[False], rng), ".pt"),
             ("old state dict, harmed", lambda: mutate(self.pickled[True], rng), ".pth"),
             ("pickle with code", lambda: self._with_code(rng), ".pt"),
             ("state dict, odd tensors", lambda: self._odd_tensors(rng), ".pt"))
        )  # fmt: skip
        path = self.folder / f"w{suffix}"
        path.write_bytes(draw())
        try:
            with warnings.catch_warnings():
                # PyTorch warns of types and formats it is going to give up; whether they are read is ours to say.
                warnings.simplefilter("ignore")
                self._use(path)
        except (InputError, HostError) as error:
            check_refusal(error, str(path) if error.where == "weights" else None)
            return [(kind, "refused")]
        except NumericalError:
            return [(kind, "refused")]
        return [(kind, "accepted")]

    @staticmethod
    def _use(path: Path) -> None:
        info = inspect_weights("cnn_lstm", path, {}, None)
        if info.classes is None:
            info = inspect_weights("cnn_lstm", path, _ARGS, ("a", "b", "c"), frames=2, height=8, width=8)
        sampling = {"frames": info.frames, "height": info.height, "width": info.width}
        try:
            spec = ModelSpec(
                name="cnn_lstm", weights=str(path), args=info.args, classes=info.classes, sha256=info.sha256
            )  # fmt: skip
            shape = SamplingSpec(**{**sampling, "every": info.every})
        except ValueError:
            return  # The check of a model says so as pydantic does.
        model = load_model(spec, torch.device("cpu"))
        assert all(torch.isfinite(value).all() for value in model.module.state_dict().values())
        if info.frames * info.height * info.width < 2**20:
            check_forward(model, shape)

    def _odd_header(self, rng: Random) -> bytes:
        size = struct.unpack("<Q", self.safe[:8])[0]
        header, data = json.loads(self.safe[8 : 8 + size]), self.safe[8 + size :]
        for _ in range(rng.randint(1, 3)):
            tensor = header[rng.choice([name for name in header if name != "__metadata__"])]
            way = rng.randrange(4)
            if way == 0:
                tensor["dtype"] = rng.choice(_TYPES)
            elif way == 1:
                tensor["shape"] = rng.choice(
                    ([2**62, 2**62], [2**63], [-1], [0, 2**40], [1] * 100, [], tensor["shape"][::-1])
                )
            elif way == 2:
                tensor["data_offsets"] = [rng.choice((0, 4, 2**63, -1)), rng.choice((*NUMBERS, 2**64))]
            else:
                header[odd_text(rng, "w")] = dict(tensor)
        text = json.dumps(header if rng.random() < 0.8 else harm(header, rng)).encode()
        length = rng.choice((len(text),) * 4 + (2**63, 2**64 - 1, 0, 10**8, len(text) + 1))
        return struct.pack("<Q", length) + text + data

    def _odd_metadata(self, rng: Random) -> bytes:
        known: Any = {
            "name": "cnn_lstm",
            "args": _ARGS,
            "classes": ["a", "b", "c"],
            "frames": 2,
            "height": 8,
            "width": 8,
        }
        known = harm(known, rng)
        if isinstance(known, dict) and rng.random() < 0.4:
            known["args"] = {**_ARGS, rng.choice(list(_ARGS)): rng.choice((2**20, 2**40, 0, -1, [9] * 300, None, 0.5))}
        text = json.dumps(known).replace("0.5", "1e999") if rng.random() < 0.1 else json.dumps(known)
        try:
            return safetensors.torch.save(dict(self.state), metadata={"flowcert": text})
        except (safetensors.SafetensorError, UnicodeEncodeError):
            return self.safe

    def _with_code(self, rng: Random) -> bytes:
        bomb = Named(rng.choice(_CODE))
        content = rng.choice((bomb, {"w": bomb}, {bomb: 1} if rng.random() < 0.5 else [bomb], {"w": [bomb] * 3}))
        if rng.random() < 0.3:
            return pickletools.optimize(pickle.dumps(content, protocol=rng.choice((0, 2, 4))))
        path = self.folder / "code.pt"
        torch.save(content, path, _use_new_zipfile_serialization=rng.random() < 0.5)
        return path.read_bytes()

    def _odd_tensors(self, rng: Random) -> bytes:
        one = torch.ones(1)
        odd = rng.choice(
            (one.to_sparse(), one.to(torch.complex64), torch.empty(1, device="meta"), one.expand(2**40), one[:0],
             torch.full((3,), float("nan")), torch.full((3,), 1e300, dtype=torch.float64), torch.tensor(True), 7,
             "text",
             torch.nn.Parameter(one), {"w": one}, [one] * 1000, {7: [[[7]]]}, one.to(torch.float8_e5m2))
        )  # fmt: skip
        name = rng.choice((*self.state, odd_text(rng, "w")))
        path = self.folder / "odd.pt"
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            torch.save({**self.state, name: odd}, path, _use_new_zipfile_serialization=rng.random() < 0.5)
        return path.read_bytes()
