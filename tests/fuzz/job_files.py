"""Fuzzes job files and the options that override them, up to the counts of the game they ask for."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from random import Random
from typing import Self

from common.errors import InputError
from common.jobspec import JobSpec, ModelSpec, SamplingSpec
from scheduler.intake.config import JobRequest, read_request
from scheduler.intake.spec import _flow, check_game
from tests.fuzz.mutate import mutate, odd_text, odd_value
from tests.fuzz.target import Plain, check_refusal

_FILE = """\
dataset: clips
weights: w.safetensors
model: cnn_lstm
model_args: {hidden: 8}
class: [A, B]
flow: farneback
flow_args: {winsize: 9}
features: grid:2x2
norm: L2
tau: 0.5
radius: 33
cap: 9
frames: 4
size: 32x32
every: 0.5
lipschitz: 2.5
budget: 1000
wall_time: 8h
priority: 3
"""
_OPTIONS = {
    "dataset": "clips", "weights": "w.safetensors", "model": "cnn_lstm", "features": "global", "norm": "L1",
    "tau": "1", "radius": "1024",
}  # fmt: skip
_NUMBERS = (
    "1e-40",
    "1e13",
    "1e12",
    "0.1",
    "1e-999999",
    "1e999999",
    "9" * 30,
    "9" * 5000,
    "nan",
    "-0",
    "1_0",
    "0x10",
    "1e-7",
)
_PARTITIONS = (
    "pixel",
    "global",
    "grid:32x32",
    "grid:999999999x1",
    "superpixel:1000000",
    "saliency:7",
    "grid:1x" + "9" * 50,
)
_BOMBS = (
    "a: &a [x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b]\nmodel_args: {a: [*c,*c,*c]}\n",
    "model_args: &a {b: *a}\n", "only: [" + "[" * 20_000, "x: " + "{" * 300, "tau: " + "1:" * 9000 + "1\n",
    "budget: 0x" + "f" * 9000 + "\n", "tau: !!python/object/apply:os.system ['true']\n",
    "tau: !!binary " + "A" * 60_000 + "\n",
    "priority: 2001-99-99\n", "priority: !!timestamp x\n", 'label: "\\uD800"\n', "? [a]\n: 1\n",
    "%TAG ! tag:x,2000:\n---\nx: 1\n",
    "a: 1\n" * 20_000, "\0", "---\n---\n", "x: !!set {a, b}\n", "tau: .inf\n", "frames: 1e400\n", "'" * 30_000,
)  # fmt: skip


class JobFiles(Plain):
    """Job files and options."""

    name = "job files"

    def __enter__(self) -> Self:
        self._folder = tempfile.TemporaryDirectory(prefix="flowcert-fuzz-")
        self.file = Path(self._folder.name) / "job.yaml"
        return self

    def __exit__(self, *_: object) -> None:
        self._folder.cleanup()

    def attempt(self, rng: Random) -> list[tuple[str, str]]:
        """Read one request; of one that is accepted, the game is counted."""
        kind = rng.choice(("file, harmed", "file, odd fields", "bomb", "options", "numbers"))
        try:
            request = self._request(kind, rng)
            spec = _spec_of(request)
            check_game(spec)
            # What is stored is what was meant: text and back changes no number.
            assert JobSpec.model_validate(json.loads(spec.model_dump_json())) == spec
        except InputError as error:
            check_refusal(error)
            return [(kind, "refused")]
        return [(kind, "accepted")]

    def _request(self, kind: str, rng: Random) -> JobRequest:
        if kind == "options":
            return read_request({**_OPTIONS, **_odd_options(rng)}, None)
        if kind == "numbers":
            odd = {name: rng.choice(_NUMBERS) for name in ("tau", "radius") if rng.random() < 0.7}
            return read_request(
                {**_OPTIONS, **odd, "features": rng.choice(_PARTITIONS), "norm": rng.choice(("L1", "L2", "Linf"))}, None
            )
        if kind == "bomb":
            text = _FILE + rng.choice(_BOMBS) if rng.random() < 0.5 else rng.choice(_BOMBS)
            self.file.write_text(text, encoding="utf-8")
        elif kind == "file, harmed":
            self.file.write_bytes(mutate(_FILE.encode(), rng))
        else:
            fields = [line for line in _FILE.splitlines() if rng.random() < 0.9]
            for _ in range(rng.randint(1, 3)):
                name = rng.choice(_FILE.splitlines()).partition(":")[0]
                value = json.dumps(odd_value(rng)) if rng.random() < 0.7 else odd_text(rng, "")
                fields.append(f"{name}: {value}")
            self.file.write_text("\n".join(fields), encoding="utf-8", errors="surrogatepass")
        return read_request(_OPTIONS if rng.random() < 0.3 else {}, self.file)


def _odd_options(rng: Random) -> dict[str, object]:
    names = (*_OPTIONS, "root", "label", "class", "split", "splits", "model_args", "classes", "stride", "every", "size",
             "flow_args", "cap", "lipschitz", "wall_time", "limit")  # fmt: skip
    odd: dict[str, object] = {}
    for _ in range(rng.randint(1, 3)):
        name = rng.choice(names)
        text = odd_text(rng, rng.choice(("", "1", "a,b", "{}", '{"a": 1}', "32x32")))
        odd[name] = [text] if name == "class" else text
    return odd


def _spec_of(request: JobRequest) -> JobSpec:
    """What would become of a request if its model were one of 4 frames of 32 by 32 pixels."""
    config = request.config
    height, width = config.height_width or (32, 32)
    try:
        return JobSpec(
            dataset=config.dataset, model=ModelSpec(name=config.model, weights="/w.pt", args=config.model_args,
            classes=("A", "B"), sha256="0" * 64),
            sampling=SamplingSpec(
                frames=config.frames or 4, stride=config.stride, every=config.every, height=height, width=width
            ),
            flow=_flow(request), features=config.features, norm=config.norm, tau=config.tau, radius=config.radius,
            cap=config.cap, continuous=config.continuous, lipschitz=config.lipschitz, heuristic=config.heuristic,
            gradients=config.gradients,
        )  # fmt: skip
    except ValueError as error:
        raise request.located(error) from error
