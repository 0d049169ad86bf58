"""The models that lie in examples are small, say everything about themselves, and run."""

from pathlib import Path

import pytest
import safetensors
import torch

from common.jobspec import ModelSpec, SamplingSpec
from worker.models import check_forward, inspect_weights, load_model

EXAMPLES = Path(__file__).parents[2] / "examples"
FILES = {
    "ucf101_cnn_lstm": ("cnn_lstm", 5, 64),
    "ucf101_7_cnn_lstm": ("cnn_lstm", 7, 64),
    "ucf101_7_efficientnet_lite0_lstm": ("efficientnet_lite0_lstm", 7, 224),
    "demo64_ordinary": ("cnn_lstm", 4, 64),
    "demo64_friendly": ("cnn_lstm", 4, 64),
}


@pytest.mark.parametrize("name", FILES)
def test_an_example_loads_without_options(name: str) -> None:
    model, classes, size = FILES[name]
    path = EXAMPLES / f"{name}.safetensors"
    assert path.stat().st_size < 5_000_000
    info = inspect_weights(model, path, {}, None)
    assert info.classes is not None
    assert (len(info.classes), info.frames, info.height, info.width) == (classes, 16, size, size)
    spec = ModelSpec(name=model, weights=str(path), args=info.args, classes=info.classes, sha256=info.sha256)
    check_forward(load_model(spec, torch.device("cpu")), SamplingSpec(frames=16, height=size, width=size))


def test_the_shipped_encoder_is_not_shipped_twice() -> None:
    with safetensors.safe_open(EXAMPLES / "ucf101_7_efficientnet_lite0_lstm.safetensors", "pt") as file:
        assert {name.partition(".")[0] for name in file.keys()} == {"lstm", "dense"}  # noqa: SIM118


def test_every_example_has_a_card() -> None:
    card = (EXAMPLES / "MODEL_CARD.md").read_text()
    assert {path.name for path in EXAMPLES.glob("*.safetensors")} == {f"{name}.safetensors" for name in FILES}
    assert all(f"{name}.safetensors" in card for name in FILES)
