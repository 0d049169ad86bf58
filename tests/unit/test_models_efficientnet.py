"""EfficientNet-Lite0 with an LSTM starts from the packages' ImageNet weights, and its frames do not mix."""

import copy
import json

import numpy as np
import pytest
import safetensors
import safetensors.torch
import torch

from common.errors import InputError
from worker.certify import supports
from worker.clip import PreparedClip
from worker.factorised import FactorisedEvaluator
from worker.factorised.agreement import require_agreement
from worker.models import build, efficientnet_lstm, inspect_weights, save_weights
from worker.models.efficientnet_lstm import EfficientNetLite0Lstm, imagenet_state
from worker.models.recurrence import Factorised
from worker.models.weights import read_weights
from worker.numerics import configure_numerics
from worker.plain import PlainEvaluator

NAME = "efficientnet_lite0_lstm"
ARGS = {"classes": 3, "hidden": 8}
SAVED = {"name": NAME, "args": ARGS, "classes": ("a", "b", "c"), "frames": 4, "height": 64, "width": 64}


@pytest.fixture(scope="module")
def trained():
    torch.manual_seed(0)
    model = build(NAME, ARGS)
    report = model.load_state_dict(imagenet_state(), strict=False)
    assert report.unexpected_keys == []
    assert {name.partition(".")[0] for name in report.missing_keys} == {"lstm", "dense"}
    return model.requires_grad_(requires_grad=False)


@pytest.fixture
def model(trained):
    return copy.deepcopy(trained).eval()


def test_it_has_the_size_of_the_published_network_without_its_classifier() -> None:
    with torch.device("meta"):
        model = EfficientNetLite0Lstm(classes=7)
    encoder = sum(parameter.numel() for parameter in model.encoder.parameters())
    assert encoder == 4_652_008 - 1281 * 1000
    assert {name: tuple(value.shape) for name, value in model.state_dict().items() if "encoder" not in name} == {
        "lstm.weight_ih_l0": (512, 1280),
        "lstm.weight_hh_l0": (512, 128),
        "lstm.bias_ih_l0": (512,),
        "lstm.bias_hh_l0": (512,),
        "dense.weight": (7, 128),
        "dense.bias": (7,),
    }


def test_its_features_are_those_under_the_published_classifier(model) -> None:
    frames = torch.rand(2, 3, 96, 64, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        x = (frames * 255 - 127) / 128
        torch.testing.assert_close(model.encode(frames), model.encoder(x))


@pytest.mark.parametrize(("height", "width"), [(64, 64), (65, 97), (224, 224)])
def test_it_takes_frames_of_any_size(model, height, width) -> None:
    with torch.inference_mode():
        assert model(torch.rand(1, 2, 3, height, width)).shape == (1, 3)


@pytest.mark.parametrize("training", [False, True])
def test_frames_and_clips_do_not_mix(model, training) -> None:
    model.train(training)
    frames = torch.rand(3, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        before = copy.deepcopy(model.state_dict())
        together = model.encode(frames)
        # Sums are grouped by batch size and thread count; a mix of frames would show at 1e-3, as below.
        torch.testing.assert_close(
            torch.cat([model.encode(frame[None]) for frame in frames]), together, atol=1e-4, rtol=1e-4
        )
        changed = frames.clone()
        changed[1:] = 0.5
        torch.testing.assert_close(model.encode(changed)[0], together[0], atol=1e-4, rtol=1e-4)
        assert not torch.allclose(model.encode(changed)[1], together[1], atol=1e-3)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_both_evaluations_agree(model) -> None:
    assert isinstance(model, Factorised)
    rng = np.random.default_rng(0)
    frames = rng.integers(0, 256, (3, 64, 64, 3)).astype(np.uint8)
    clip = PreparedClip(frames, rng.normal(size=(2, 2, 64, 64)).astype(np.float32), np.zeros((2, 64, 64), np.int32))
    plain = PlainEvaluator(clip, model, 1.0, torch.device("cpu"), batch=4)
    fast = FactorisedEvaluator(plain, model, 2**26)
    require_agreement(fast, plain)
    points = [(), ((0, 1),), ((1, -1), (2, 1)), ((3, 2),)]
    np.testing.assert_allclose(fast.logits(points), plain.logits(points), atol=1e-5)


def test_it_has_deterministic_gradients_and_works_in_float64(model) -> None:
    configure_numerics(threads=1)
    try:
        clip = torch.rand(1, 2, 3, 64, 64, generator=torch.Generator().manual_seed(2), requires_grad=True)
        gradients = [torch.autograd.grad(model(clip)[0, 0], clip)[0] for _ in range(2)]
        assert torch.equal(*gradients)
        assert gradients[0].abs().max() > 0
        double = copy.deepcopy(model).double()
        torch.testing.assert_close(double(clip.double()).float(), model(clip), atol=1e-4, rtol=1e-4)
    finally:
        torch.use_deterministic_algorithms(mode=False)


def test_continuous_certificates_refuse_it_clearly() -> None:
    with torch.device("meta"):
        assert "EfficientNetLite0Lstm is not supported" in supports(EfficientNetLite0Lstm(classes=3))


def test_weights_leave_the_shipped_encoder_out_and_name_it(model, tmp_path) -> None:
    path = tmp_path / "head.safetensors"
    save_weights(path, model, **SAVED)
    assert path.stat().st_size < 200_000
    with safetensors.safe_open(path, "pt") as file:
        assert {name.partition(".")[0] for name in file.keys()} == {"lstm", "dense"}  # noqa: SIM118
        assert json.loads(file.metadata()["flowcert"])["encoder"] == efficientnet_lstm.IMAGENET_SHA256
    assert inspect_weights(NAME, path, {}, None).classes == ("a", "b", "c")
    again = read_weights(path).tensors
    assert again.keys() == model.state_dict().keys()
    assert all(torch.equal(value, again[name]) for name, value in model.state_dict().items())


def test_weights_keep_an_encoder_that_was_trained_on(model, tmp_path) -> None:
    path = tmp_path / "whole.safetensors"
    next(model.encoder.parameters()).add_(1e-3)
    save_weights(path, model, **SAVED)
    assert read_weights(path).metadata.encoder is None
    assert path.stat().st_size > 10_000_000


def test_an_encoder_that_is_not_shipped_any_more_is_refused(model, tmp_path, monkeypatch) -> None:
    path = tmp_path / "head.safetensors"
    save_weights(path, model, **SAVED)
    data = path.read_bytes().replace(efficientnet_lstm.IMAGENET_SHA256.encode(), b"0" * 64)
    path.write_bytes(data)
    with pytest.raises(InputError, match="an encoder of another version of Flowcert"):
        read_weights(path)
    monkeypatch.setattr(efficientnet_lstm, "IMAGENET_SHA256", "0" * 64)
    with pytest.raises(InputError, match="not the ImageNet weights that Flowcert knows"):
        imagenet_state()
