"""Weights files are used only when they are the pinned ones, readable without code, finite and an exact fit."""

import hashlib
import json
import os
import pickle
import re
import subprocess
import sys
import zipfile
from decimal import Decimal

import pytest
import safetensors.torch
import torch

from common.errors import InputError, NumericalError
from common.jobspec import ModelSpec, SamplingSpec
from worker.models import (
    WeightsInfo,
    build,
    check_forward,
    inspect_weights,
    load_model,
    pickles,
    save_weights,
    weights,
)
from worker.models.weights import MOST_BYTES, read_weights
from worker.numerics import configure_numerics, numerics_report

ARGS = {"classes": 3, "height": 16, "width": 16, "hidden": 8, "channels": [4, 4]}
CLASSES = ("a", "b", "c")
CPU = torch.device("cpu")


@pytest.fixture
def module():
    torch.manual_seed(0)
    return build("cnn_lstm", ARGS)


@pytest.fixture
def saved(tmp_path, module):
    path = tmp_path / "w.safetensors"
    save_weights(path, module, name="cnn_lstm", args=ARGS, classes=CLASSES, frames=4, height=16, width=16)
    return path


def spec_for(path, **changes):
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "0" * 64
    fields = {"name": "cnn_lstm", "weights": str(path), "args": ARGS, "classes": CLASSES, "sha256": sha256}
    return ModelSpec(**(fields | changes))


def refusal(path, **changes) -> str:
    with pytest.raises(InputError) as caught:
        load_model(spec_for(path, **changes), CPU)
    assert caught.value.where == "weights"
    assert str(path) in caught.value.problem
    assert "\n" not in str(caught.value)
    return caught.value.problem


def changed_state(module, **changes):
    return {name: tensor.clone() for name, tensor in module.state_dict().items()} | changes


def test_saved_weights_come_back_ready_to_certify(saved, module) -> None:
    loaded = load_model(spec_for(saved), CPU)
    clip = torch.rand(2, 4, 3, 16, 16)
    torch.testing.assert_close(loaded.module(clip), module.eval()(clip), rtol=0, atol=0)
    assert not loaded.module.training
    assert not any(parameter.requires_grad for parameter in loaded.module.parameters())
    assert loaded.classes == CLASSES
    assert loaded.sha256 == hashlib.sha256(saved.read_bytes()).hexdigest()
    check_forward(loaded, SamplingSpec(frames=4, height=16, width=16))


@pytest.mark.parametrize("suffix", [".pt", ".pth"])
def test_torch_state_dict_loads_as_float32(tmp_path, module, suffix) -> None:
    path = tmp_path / f"w{suffix}"
    torch.save({name: tensor.double() for name, tensor in module.state_dict().items()}, path)
    loaded = load_model(spec_for(path), CPU)
    assert {parameter.dtype for parameter in loaded.module.parameters()} == {torch.float32}
    torch.testing.assert_close(loaded.module.dense.weight, module.dense.weight.detach(), rtol=0, atol=0)


def test_other_bytes_than_pinned_are_refused(saved) -> None:
    assert "SHA-256" in refusal(saved, sha256="f" * 64)


def test_missing_file_and_folder(tmp_path) -> None:
    assert "No such file" in refusal(tmp_path / "none.safetensors")
    (tmp_path / "folder.pt").mkdir()
    assert "cannot be read" in refusal(tmp_path / "folder.pt")


@pytest.mark.parametrize("suffix", [".safetensors", ".pt", ".pth"])
@pytest.mark.parametrize("content", [b"", b"garbage that is long enough for a header", b"\x80\x04N."])
def test_garbage_is_refused(tmp_path, suffix, content) -> None:
    path = tmp_path / f"w{suffix}"
    path.write_bytes(content)
    assert refusal(path)


def test_truncated_file_is_refused(saved) -> None:
    saved.write_bytes(saved.read_bytes()[:-10])
    assert "safetensors" in refusal(saved)


def test_other_file_type_is_refused(tmp_path) -> None:
    path = tmp_path / "w.onnx"
    path.write_bytes(b"x")
    assert ".safetensors" in refusal(path)


class Bomb:
    """Unpickled, it makes a folder."""

    def __init__(self, mark) -> None:
        self.mark = mark

    def __reduce__(self):
        return (os.mkdir, (str(self.mark),))


@pytest.mark.parametrize("archive", [True, False])
@pytest.mark.parametrize("place", [lambda bomb: bomb, lambda bomb: {"dense.weight": bomb}, lambda bomb: {bomb: 1}])
def test_pickled_code_is_never_run(tmp_path, archive, place) -> None:
    path, mark = tmp_path / "w.pt", tmp_path / "mark"
    torch.save(place(Bomb(mark)), path, _use_new_zipfile_serialization=archive)
    assert "without running code" in refusal(path)
    path.write_bytes(pickle.dumps(place(Bomb(mark))))
    assert "without running code" in refusal(path)
    assert not mark.exists()
    pickle.loads(pickle.dumps(Bomb(mark)))
    assert mark.exists(), "the bomb is none"


def test_other_bytes_than_pinned_are_not_even_parsed(tmp_path) -> None:
    path = tmp_path / "w.pt"
    path.write_bytes(b"no weights at all")
    assert "has SHA-256" in refusal(path, sha256="f" * 64)


def test_a_file_that_is_too_large_is_refused_unread(tmp_path) -> None:
    path = tmp_path / "w.safetensors"
    with path.open("wb") as file:
        file.truncate(MOST_BYTES + 1)
    with pytest.raises(InputError, match=f"has {MOST_BYTES + 1} bytes, {MOST_BYTES} are allowed"):
        read_weights(path)


def test_an_archive_that_unpacks_to_too_much_is_refused(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(weights, "MOST_BYTES", 1000)
    path = tmp_path / "w.pt"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data/0", bytes(100_000))
    assert path.stat().st_size < 1000
    assert "unpacks to 100000 bytes, 1000 are allowed" in refusal(path)


def test_a_parameter_larger_than_its_bytes_is_refused(tmp_path) -> None:
    path = tmp_path / "w.pt"
    torch.save({"dense.weight": torch.zeros(1).expand(10**12)}, path)
    assert "dense.weight is larger than what the file holds of it" in refusal(path)


def test_a_pipe_is_not_waited_for(tmp_path) -> None:
    path = tmp_path / "w.pt"
    os.mkfifo(path)
    assert "is no ordinary file" in refusal(path)


@pytest.mark.parametrize("content", [[torch.zeros(1)], {0: torch.zeros(1)}, {"epoch": 3}])
def test_what_is_no_state_dict_is_refused(tmp_path, content) -> None:
    path = tmp_path / "w.pt"
    torch.save(content, path)
    assert "tensor" in refusal(path)


@pytest.mark.parametrize(
    "odd",
    [torch.eye(3).to_sparse(), torch.empty(3, device="meta"), torch.ones(3, dtype=torch.complex64)],
    ids=["sparse", "meta", "complex"],
)
def test_only_plain_tensors_of_numbers_are_weights(tmp_path, module, odd) -> None:
    path = tmp_path / "w.pt"
    torch.save(changed_state(module, **{"dense.bias": odd}), path)
    refusal(path)


@pytest.mark.parametrize("old", [False, True])
def test_a_pickle_cannot_ask_for_memory(tmp_path, old) -> None:
    class Sized:
        def __init__(self, kind) -> None:
            self.kind = kind

        def __reduce__(self):
            return (self.kind, (10**11,))

    for kind in (bytearray, torch.Tensor, torch.FloatTensor):
        path = tmp_path / "w.pt"
        torch.save({"dense.bias": Sized(kind)}, path, _use_new_zipfile_serialization=not old)
        assert re.search(r"without running code \(it names \S+\)", refusal(path))


def test_a_state_dict_of_the_old_format_is_read(tmp_path, module) -> None:
    path = tmp_path / "w.pth"
    torch.save(module.state_dict(), path, _use_new_zipfile_serialization=False)
    loaded = load_model(spec_for(path), CPU)
    torch.testing.assert_close(loaded.module.dense.weight, module.dense.weight.detach(), rtol=0, atol=0)


def test_pickles_of_many_megabytes_are_not_looked_through(tmp_path, monkeypatch, module) -> None:
    monkeypatch.setattr(pickles, "MOST_PICKLED", 100)
    path = tmp_path / "w.pt"
    torch.save(module.state_dict(), path)
    assert "more than 100 bytes of pickles" in refusal(path)
    torch.save(module.state_dict(), path, _use_new_zipfile_serialization=False)
    assert "without running code (it is damaged)" in refusal(path)


def test_views_of_one_storage_together_are_limited(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(weights, "MOST_BYTES", 100_000)
    path, large = tmp_path / "w.pt", torch.zeros(10_000)
    torch.save({str(i): large for i in range(10)}, path)
    assert "its parameters take more than the 100000 bytes that are allowed" in refusal(path)


def test_arguments_are_held_against_the_file_before_they_cost_memory(saved) -> None:
    # Built for real, this LSTM would take 16 TB.
    problem = refusal(saved, args={**ARGS, "hidden": 10**6})
    assert "has shape" in problem


@pytest.mark.parametrize(
    ("header", "problem"),
    [
        ({"w": {"dtype": "F4", "shape": [8], "data_offsets": [0, 4]}}, "'F4'"),
        ({"w": {"dtype": "F32", "shape": [2**64 - 1, 0], "data_offsets": [0, 0]}}, "Overflow"),
        ({"w": {"dtype": "F32", "shape": [2**63, 2**63], "data_offsets": [0, 4]}}, "overflow"),
        ({"__metadata__": None}, "is missing"),
        ({"__metadata__": {"flowcert": "x" * 70_000}}, "has more than 65536 characters"),
        (2**63, "header too large"),
    ],
)
def test_headers_that_promise_too_much_are_refused(tmp_path, header, problem) -> None:
    path, data = tmp_path / "w.safetensors", bytes(4)
    text = json.dumps(header).encode() if isinstance(header, dict) else b"{}"
    length = len(text) if isinstance(header, dict) else header
    ends = max((part["data_offsets"][1] for part in header.values() if part and "data_offsets" in part), default=0) if (
        isinstance(header, dict)
    ) else 0  # fmt: skip
    path.write_bytes(length.to_bytes(8, "little") + text + data[:ends])
    assert re.search(problem, refusal(path))


def test_metadata_is_strict_json_with_names_that_can_be_shown(saved, module) -> None:
    whole = {"name": "cnn_lstm", "args": ARGS, "classes": CLASSES, "frames": 4, "height": 16, "width": 16}
    for change in ({"classes": ["a", "b\x1b[31m"]}, {"args": {"x": float("inf")}}):
        safetensors.torch.save_file(
            changed_state(module), saved, metadata={"flowcert": json.dumps(whole | change).replace("Infinity", "1e999")}
        )
        with pytest.raises(InputError, match="metadata 'flowcert' is wrong at"):
            inspect_weights("cnn_lstm", saved, {}, None)


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), 1e300])
def test_weights_not_finite_in_float32_are_refused(tmp_path, module, bad) -> None:
    weight = module.dense.weight.detach().double().clone()
    weight[1, 2] = bad
    path = tmp_path / "w.safetensors"
    safetensors.torch.save_file(changed_state(module, **{"dense.weight": weight}), path)
    assert "dense.weight has NaN or infinite" in refusal(path)


def test_first_wrong_parameter_is_named(tmp_path, module) -> None:
    path = tmp_path / "w.safetensors"
    safetensors.torch.save_file(changed_state(module, **{"dense.bias": torch.zeros(4)}), path)
    assert "dense.bias has shape 4, the model needs 3" in refusal(path)
    safetensors.torch.save_file(changed_state(module, extra=torch.zeros(4)), path)
    assert "extra is unexpected" in refusal(path)
    state = changed_state(module)
    del state["dense.weight"]
    safetensors.torch.save_file(state, path)
    assert "dense.weight is missing; the model needs 3x8" in refusal(path)


def test_forward_must_give_one_logit_per_class(saved) -> None:
    loaded = load_model(spec_for(saved, classes=("a", "b")), CPU)
    with pytest.raises(InputError, match="gave 1x3 where 2 classes"):
        check_forward(loaded, SamplingSpec(frames=4, height=16, width=16))


def test_forward_refuses_another_size_and_overflow(saved, module, tmp_path) -> None:
    with pytest.raises(InputError, match="refuses a clip of shape 1x4x3x32x32"):
        check_forward(load_model(spec_for(saved), CPU), SamplingSpec(frames=4, height=32, width=32))
    path = tmp_path / "huge.safetensors"
    huge = {"dense.weight": torch.full((3, 8), 3e38), "dense.bias": torch.full((3,), 3e38)}
    safetensors.torch.save_file(changed_state(module, **huge) | {"lstm.bias_ih_l0": torch.full((32,), 9.0)}, path)
    with pytest.raises(NumericalError):
        check_forward(load_model(spec_for(path), CPU), SamplingSpec(frames=4, height=16, width=16))


def test_inspect_reads_what_save_wrote(saved) -> None:
    sha256 = hashlib.sha256(saved.read_bytes()).hexdigest()
    assert inspect_weights("cnn_lstm", saved, {}, None) == WeightsInfo(sha256, CLASSES, ARGS, 4, 16, 16)


def test_weights_may_say_the_pause_between_frames(tmp_path, module) -> None:
    path = tmp_path / "w.safetensors"
    save_weights(
        path, module, name="cnn_lstm", args=ARGS, classes=CLASSES, frames=4, height=16, width=16, every=Decimal("0.50")
    )
    assert inspect_weights("cnn_lstm", path, {}, None).every == Decimal("0.5")
    code, answer = ask(name="cnn_lstm", weights=str(path))
    assert (code, answer["every"]) == (0, "0.5")


def test_weights_that_say_no_pause_are_those_from_before_there_were_pauses(saved) -> None:
    # Equal trainings give equal bytes, and a weights file's bytes are a part of the job's identity.
    with safetensors.safe_open(saved, "pt") as file:
        metadata = json.loads(file.metadata()["flowcert"])
    assert set(metadata) == {"name", "args", "classes", "frames", "height", "width", "encoder"}
    assert inspect_weights("cnn_lstm", saved, {}, None).every is None


def test_inspect_lets_the_user_win(saved) -> None:
    info = inspect_weights("cnn_lstm", saved, {"hidden": 9}, ("x", "y", "z"), frames=8, height=24)
    assert info.classes == ("x", "y", "z")
    assert (info.frames, info.height, info.width) == (8, 24, 16)
    assert info.args == ARGS | {"hidden": 9, "height": 24}


def test_inspect_without_metadata_completes_the_arguments(tmp_path, module) -> None:
    path = tmp_path / "w.pt"
    torch.save(module.state_dict(), path)
    assert inspect_weights("cnn_lstm", path, {}, None).classes is None
    info = inspect_weights("cnn_lstm", path, {"hidden": 8}, CLASSES, frames=4, height=16, width=16)
    assert info.args == {"classes": 3, "height": 16, "width": 16, "hidden": 8}
    assert inspect_weights("my.module:net", path, {"n": 1}, CLASSES, frames=4, height=16, width=16).args == {"n": 1}


def test_inspect_refuses_another_model_class_count_or_bad_metadata(saved, module) -> None:
    with pytest.raises(InputError, match="saved for the model 'cnn_lstm', not for 'vgg16_lstm'"):
        inspect_weights("vgg16_lstm", saved, {}, None)
    with pytest.raises(InputError, match="saved for 3 classes, but 2 are named"):
        inspect_weights("cnn_lstm", saved, {}, ("a", "b"))
    whole = {"name": "cnn_lstm", "args": ARGS, "classes": CLASSES, "frames": 4, "height": 16, "width": 16}
    for text in ("no json", json.dumps({"name": "cnn_lstm"}), json.dumps(whole | {"every": "-1"})):
        safetensors.torch.save_file(changed_state(module), saved, metadata={"flowcert": text})
        with pytest.raises(InputError, match="metadata 'flowcert' is wrong"):
            inspect_weights("cnn_lstm", saved, {}, None)


def ask(cwd=None, **question):
    empty = {"args": {}, "classes": None, "frames": None, "height": None, "width": None}
    command = [sys.executable, "-P", "-m", "worker.entry.check_model"]
    asked = json.dumps(empty | question)
    run = subprocess.run(command, input=asked, capture_output=True, text=True, check=False, cwd=cwd)
    assert run.stdout.count("\n") == 1, run.stderr
    return run.returncode, json.loads(run.stdout)


def test_check_model_answers_in_one_json_line(saved, module, tmp_path) -> None:
    sha256 = hashlib.sha256(saved.read_bytes()).hexdigest()
    good = {"ok": True, "sha256": sha256, "classes": list(CLASSES), "args": ARGS}
    assert ask(name="cnn_lstm", weights=str(saved)) == (0, good | {"frames": 4, "height": 16, "width": 16})

    path = tmp_path / "plain.pt"
    torch.save(module.state_dict(), path)
    code, answer = ask(name="cnn_lstm", weights=str(path), args=ARGS, frames=4, height=16, width=16)
    assert (code, answer["ok"], answer["where"]) == (1, False, "--classes")
    assert "--classes" in answer["problem"]


def test_a_users_module_is_found_and_tried_beside_folders_that_are_called_as_our_own(tmp_path) -> None:
    (tmp_path / "my_net.py").write_text("from torch import nn\ndef make():\n    return nn.Flatten(2)\n")
    for name in ("common", "worker"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text("raise RuntimeError('the user has one, too')\n")
    (tmp_path / "single.py").write_text(
        "from torch import nn\nclass Net(nn.Module):\n    def __init__(self):\n        super().__init__()\n"
        "        self.dense = nn.Linear(3, 3)\n    def forward(self, x):\n"
        "        return self.dense(x.float().mean((1, 3, 4)))\n"
    )
    torch.save({}, tmp_path / "my_net.pt")
    question = {"weights": str(tmp_path / "my_net.pt"), "frames": 2, "height": 8, "width": 8, "classes": CLASSES}
    _, answer = ask(tmp_path, name="my_net:make", **question)
    assert answer["problem"] == "gave 1x2x192 where 3 classes need logits of shape 1x3"
    _, answer = ask(tmp_path, name="my_nett:make", **question)
    assert answer["problem"].endswith(f"; looked for in {tmp_path} and on PYTHONPATH")
    torch.save(torch.nn.Linear(3, 3).state_dict(), tmp_path / "my_net.pt")
    _, answer = ask(tmp_path, name="single:Net", **question)
    assert "dense.weight is missing; the model needs 3x3 (the file begins with weight)" in answer["problem"]
    torch.save(torch.nn.ModuleDict({"dense": torch.nn.Linear(3, 3)}).state_dict(), tmp_path / "my_net.pt")
    _, answer = ask(tmp_path, name="single:Net", **question)
    assert answer["problem"].startswith("refuses a clip of shape 1x2x3x8x8 in float64: RuntimeError")


@pytest.mark.parametrize(
    ("changes", "option"),
    [
        ({"classes": None}, "--classes"),
        ({"frames": None}, "--frames"),
        ({"width": None}, "--size"),
        ({"classes": None, "frames": None, "height": None}, "--classes, --frames, --size"),
    ],
)
def test_check_names_the_option_to_pass(tmp_path, module, changes, option) -> None:
    from worker.entry.check_model import check

    path = tmp_path / "plain.pt"
    torch.save(module.state_dict(), path)
    question = {"name": "cnn_lstm", "weights": str(path), "args": ARGS, "classes": CLASSES}
    question |= {"frames": 4, "height": 16, "width": 16} | changes
    with pytest.raises(InputError) as caught:
        check(json.dumps(question))
    assert caught.value.where == option
    with pytest.raises(InputError, match="colour"):
        check(json.dumps(question | {"colour": 1}))


def test_numerics_are_full_float32_and_deterministic() -> None:
    threads = torch.get_num_threads()
    try:
        torch.backends.cudnn.benchmark = True
        configure_numerics(threads=1)
        report = numerics_report()
        assert report["threads"] == 1
        assert (report["matmul_tf32"], report["cudnn_tf32"], report["deterministic"]) == (False, False, True)
        assert not torch.backends.cudnn.benchmark
        json.dumps(report, allow_nan=False)
    finally:
        torch.use_deterministic_algorithms(mode=False)
        torch.set_num_threads(threads)
