"""The bundled demo weights fit their model, say all that a submit needs, and classify freshly rendered clips."""

import torch

from common.jobspec import ModelSpec
from worker.demo.train import CLASSES, SAMPLING, WEIGHTS, accuracy, load_clips, train
from worker.models import check_forward, inspect_weights, load_model


def test_bundled_weights_classify_clips_of_a_seed_never_trained_on(tmp_path) -> None:
    info = inspect_weights("cnn_lstm", WEIGHTS, {}, None)
    assert info.classes == CLASSES
    assert (info.frames, info.height, info.width) == (SAMPLING.frames, SAMPLING.height, SAMPLING.width)
    spec = ModelSpec(name="cnn_lstm", weights=str(WEIGHTS), args=info.args, classes=CLASSES, sha256=info.sha256)
    loaded = load_model(spec, torch.device("cpu"))
    check_forward(loaded, SAMPLING)
    clips, labels = load_clips(tmp_path, per_class=15, seed=77)
    assert accuracy(loaded.module, clips, labels) >= 0.9


def test_bundled_weights_are_small() -> None:
    assert WEIGHTS.stat().st_size < 300_000


def test_training_lowers_the_loss_and_repeats(tmp_path) -> None:
    clips, labels = load_clips(tmp_path, per_class=4, seed=8)
    first, second = (train(clips, labels, epochs=25) for _ in range(2))
    assert accuracy(first, clips, labels) > 0.5
    for one, other in zip(first.parameters(), second.parameters(), strict=True):
        torch.testing.assert_close(one, other)
