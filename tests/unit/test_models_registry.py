"""Registered models have the promised names, sizes and behaviour; user factories are found or refused in one line."""

import sys

import pytest
import torch
from torch.nn import functional as F

from common.errors import InputError
from worker.models.cnn import CnnLstm
from worker.models.registry import build, implied_args
from worker.models.vgg16_lstm import Vgg16Lstm

# Written down from torchvision's vgg16(), so that its checkpoints stay a start for training.
TORCHVISION_VGG16 = {
    "features.0.weight": (64, 3, 3, 3),
    "features.0.bias": (64,),
    "features.2.weight": (64, 64, 3, 3),
    "features.2.bias": (64,),
    "features.5.weight": (128, 64, 3, 3),
    "features.5.bias": (128,),
    "features.7.weight": (128, 128, 3, 3),
    "features.7.bias": (128,),
    "features.10.weight": (256, 128, 3, 3),
    "features.10.bias": (256,),
    "features.12.weight": (256, 256, 3, 3),
    "features.12.bias": (256,),
    "features.14.weight": (256, 256, 3, 3),
    "features.14.bias": (256,),
    "features.17.weight": (512, 256, 3, 3),
    "features.17.bias": (512,),
    "features.19.weight": (512, 512, 3, 3),
    "features.19.bias": (512,),
    "features.21.weight": (512, 512, 3, 3),
    "features.21.bias": (512,),
    "features.24.weight": (512, 512, 3, 3),
    "features.24.bias": (512,),
    "features.26.weight": (512, 512, 3, 3),
    "features.26.bias": (512,),
    "features.28.weight": (512, 512, 3, 3),
    "features.28.bias": (512,),
    "classifier.0.weight": (4096, 25088),
    "classifier.0.bias": (4096,),
    "classifier.3.weight": (4096, 4096),
    "classifier.3.bias": (4096,),
}
HEAD = {
    "lstm.weight_ih_l0": (1024, 4096),
    "lstm.weight_hh_l0": (1024, 256),
    "lstm.bias_ih_l0": (1024,),
    "lstm.bias_hh_l0": (1024,),
    "dense.weight": (5, 256),
    "dense.bias": (5,),
}


def test_vgg16_lstm_has_torchvision_names_and_shapes() -> None:
    with torch.device("meta"):
        state = Vgg16Lstm(classes=5).state_dict()
    assert {name: tuple(value.shape) for name, value in state.items()} == TORCHVISION_VGG16 | HEAD


def test_vgg16_convolutions_sit_where_torchvision_has_them() -> None:
    with torch.device("meta"):
        features = Vgg16Lstm(classes=2).features
    kinds = {"Conv2d": "c", "ReLU": "r", "MaxPool2d": "M"}
    assert "".join(kinds[type(layer).__name__] for layer in features) == "crcrMcrcrMcrcrcrMcrcrcrMcrcrcrM"


def test_vgg16_frame_features_normalise_pool_and_pass_fc7() -> None:
    torch.manual_seed(0)
    model = Vgg16Lstm(classes=2).eval()
    frames = torch.rand(1, 3, 40, 32)
    with torch.inference_mode():
        mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
        x = ((frames.permute(0, 2, 3, 1) - mean) / std).permute(0, 3, 1, 2)
        x = F.adaptive_avg_pool2d(model.features(x), 7).flatten(1)
        fc6, fc7 = model.classifier[0], model.classifier[3]
        torch.testing.assert_close(model.encode(frames), torch.relu(fc7(torch.relu(fc6(x)))))
        assert model(frames[None]).shape == (1, 2)


def test_cnn_lstm_size_at_64_pixels() -> None:
    model = CnnLstm(classes=5, height=64, width=64)
    assert 150_000 < sum(p.numel() for p in model.parameters()) < 170_000


@pytest.mark.parametrize(("height", "width"), [(32, 32), (33, 47), (8, 64)])
def test_cnn_lstm_takes_the_size_it_was_built_for(height: int, width: int) -> None:
    model = build("cnn_lstm", {"classes": 3, "height": height, "width": width, "hidden": 8, "channels": [4, 4, 4]})
    assert model(torch.rand(2, 4, 3, height, width)).shape == (2, 3)


def test_forward_is_head_of_encode_and_clips_do_not_interact() -> None:
    torch.manual_seed(1)
    model = CnnLstm(classes=3, height=16, width=16, hidden=8).eval()
    clips = torch.rand(4, 5, 3, 16, 16)
    with torch.inference_mode():
        logits = model(clips)
        features = torch.stack([model.encode(clip) for clip in clips])
        torch.testing.assert_close(model.head(features), logits)
        torch.testing.assert_close(torch.cat([model(clip[None]) for clip in clips]), logits)
        changed = clips.clone()
        changed[1:] = torch.rand_like(changed[1:])
        torch.testing.assert_close(model(changed)[0], logits[0])
        assert not torch.allclose(model(changed)[1], logits[1])


def test_logits_depend_on_the_order_of_the_frames() -> None:
    torch.manual_seed(2)
    model = CnnLstm(classes=3, height=16, width=16, hidden=8).eval()
    clip = torch.rand(1, 5, 3, 16, 16)
    assert not torch.allclose(model(clip), model(clip.flip(1)))


def test_implied_args_only_for_registered_models() -> None:
    sizes = {"classes": 4, "height": 32, "width": None}
    assert implied_args("cnn_lstm", sizes) == {"classes": 4, "height": 32}
    assert implied_args("vgg16_lstm", sizes) == {"classes": 4}
    assert implied_args("efficientnet_lite0_lstm", sizes) == {"classes": 4}
    assert implied_args("some.module:factory", sizes) == {}


def test_user_factory_is_imported_and_called(tmp_path, monkeypatch) -> None:
    (tmp_path / "user_factory_ok.py").write_text(
        "from torch import nn\ndef net(size):\n    return nn.Linear(size, 2)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    try:
        assert build("user_factory_ok:net", {"size": 3}).in_features == 3
    finally:
        sys.modules.pop("user_factory_ok", None)


@pytest.mark.parametrize(
    ("name", "args", "part"),
    [
        ("resnet", {}, "not one of cnn_lstm, cnn_gru, cnn_mean, vgg16_lstm, efficientnet_lite0_lstm, nor of the form"),
        ("cnn_lstm:", {}, "module:callable"),
        ("no_such_module_here:net", {}, "cannot be imported"),
        ("math:no_such_callable", {}, "no callable 'no_such_callable'"),
        ("math:pi", {}, "no callable 'pi'"),
        ("math:sqrt", {"x": 2}, "could not be built"),
        ("builtins:dict", {}, "gave a dict"),
        ("cnn_lstm", {"classes": 2}, "could not be built"),
        ("cnn_lstm", {"classes": 2, "height": 16, "width": 16, "colour": 1}, "colour"),
    ],
)
def test_unusable_names_and_arguments_are_one_line_errors(name: str, args: dict, part: str) -> None:
    with pytest.raises(InputError) as caught:
        build(name, args)
    assert caught.value.where == "model"
    assert part in caught.value.problem
    assert "\n" not in str(caught.value)
