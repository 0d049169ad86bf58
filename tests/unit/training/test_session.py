"""Trainings are repeatable, go on exactly where they stopped, and leave weights that certify without more options."""

import copy
import csv
import json
from decimal import Decimal

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from common.errors import InputError, NumericalError
from common.jobspec import first_problem
from worker.clip_cache import load_arrays
from worker.demo.render import DIRECTIONS, render_dataset
from worker.models import build, inspect_weights, vgg16_lstm
from worker.models.efficientnet_lstm import imagenet_state
from worker.models.registry import SHIPPED_ENCODERS
from worker.models.weights import read_weights
from worker.training import TrainRequest, train
from worker.training.encoder import start_encoder, trained_parameters
from worker.training.loop import augment

ARGS = {"hidden": 8, "channels": [4, 8], "features": 8}
SIZES = {"frames": 4, "height": 16, "width": 16}


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    folder = tmp_path_factory.mktemp("training")
    render_dataset(folder / "clips", per_class=3, seed=1)
    return folder


@pytest.fixture
def request_for(home, tmp_path):
    def make(name="w", **changes):
        clips = [
            {"label": label, "path": str(path)}
            for label in DIRECTIONS
            for path in sorted((home / "clips" / label).iterdir())
        ]
        fields = {
            "clips": clips, "classes": list(DIRECTIONS), "model": "cnn_lstm", "model_args": ARGS, **SIZES, "epochs": 3,
            "batch": 4, "out": str(tmp_path / f"{name}.safetensors"), "cache": str(home / "cache"), "max_bytes": 10**8,
        }  # fmt: skip
        return TrainRequest.model_validate_json(json.dumps(fields | changes))

    return make


def finished(request):
    told = []
    train(request, told.append)
    return told


def stop_in_epoch(number, steps):
    """Interrupt at the first step of an epoch; the steps of one epoch are given."""

    def tell(event):
        if event == {"event": "step", "stage": "train", "done": (number - 1) * steps + 1, "total": event.get("total")}:
            raise KeyboardInterrupt

    return tell


def same(first, second):
    one, other = read_weights(first).tensors, read_weights(second).tensors
    return one.keys() == other.keys() and all(torch.equal(value, other[name]) for name, value in one.items())


@pytest.mark.parametrize(
    ("model", "args"), [("cnn_lstm", ARGS), ("cnn_gru", ARGS), ("cnn_mean", {"channels": [4], "features": 4})]
)
def test_small_models_train_and_their_weights_say_everything(request_for, model, args):
    request = request_for(model=model, model_args=args, augment=True)
    told = finished(request)
    info = inspect_weights(model, request.out, {}, None)
    assert (info.classes, info.frames, info.height, info.width) == (tuple(DIRECTIONS), 4, 16, 16)
    with request.out.with_suffix(".csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["epoch"] for row in rows] == ["1", "2", "3"]
    assert all(float(row["loss"]) > 0 and 0 <= float(row["validation_accuracy"]) <= 1 for row in rows)
    assert told[-1]["event"] == "done"
    assert {side: found["clips"] for side, found in told[-1]["accuracy"].items()} == {"train": 8, "validation": 4}


def test_frames_a_pause_apart_are_learned_and_named_in_the_weights(request_for):
    # Rendered clips have 12 frames a second: these are frames 0, 3, 6 and 9.
    paused, uniform = request_for("paused", every="0.25"), request_for("uniform")
    finished(paused)
    finished(uniform)
    assert inspect_weights("cnn_lstm", paused.out, {}, None).every == Decimal("0.25")
    assert inspect_weights("cnn_lstm", uniform.out, {}, None).every is None
    assert not same(paused.out, uniform.out)
    with pytest.raises(InputError, match=r"has 3 frames at --every 0\.75, 4 are needed"):
        finished(request_for("long", every="0.75"))


def test_a_checkpoint_from_before_there_were_pauses_is_still_this_training_s(request_for):
    request = request_for()
    finished(request)
    checkpoint = request.out.with_suffix(".checkpoint")
    kept = torch.load(checkpoint, weights_only=True)
    del kept["identity"]["every"]
    torch.save(kept, checkpoint)
    assert any(event.get("text", "").startswith("going on after epoch 3") for event in finished(request))


def test_equal_requests_train_equal_weights_and_other_seeds_others(request_for):
    requests = [request_for("a"), request_for("b"), request_for("c", seed=1)]
    for request in requests:
        finished(request)
    assert same(requests[0].out, requests[1].out)
    assert not same(requests[0].out, requests[2].out)


def test_an_interrupted_training_becomes_the_same_as_an_uninterrupted_one(request_for, monkeypatch):
    monkeypatch.setattr("worker.training.session._WRITING", 1e9)  # Keep every epoch, however short.
    through, stopped = request_for("through", augment=True), request_for("stopped", augment=True)
    finished(through)
    with pytest.raises(KeyboardInterrupt):
        train(stopped, stop_in_epoch(3, steps=2))
    assert not stopped.out.exists()
    told = finished(stopped)
    assert any(event.get("text", "").startswith("going on after epoch 2") for event in told)
    assert same(through.out, stopped.out)
    rows = [
        [row.rsplit(",", 1)[0] for row in request.out.with_suffix(".csv").read_text().splitlines()]
        for request in (through, stopped)
    ]
    assert rows[0] == rows[1]


def test_minutes_end_a_training_that_goes_on_later(request_for):
    told = finished(request_for(minutes=1e-9))
    assert sum(event["event"] == "epoch" for event in told) == 1
    assert any("--minutes ended the training after epoch 1 of 3" in event.get("text", "") for event in told)
    assert sum(event["event"] == "epoch" for event in finished(request_for())) == 2


def test_a_checkpoint_of_another_training_is_refused_by_the_option_that_differs(request_for):
    finished(request_for())
    for changes, option in (
        ({"rate": 0.1}, "--rate"),
        ({"every": "0.25"}, "--every"),
        ({"classes": list(DIRECTIONS)[::-1]}, "--classes"),
    ):
        with pytest.raises(InputError, match=f"another {option}; delete it"):
            finished(request_for(**changes))
    request = request_for()
    request.out.with_suffix(".checkpoint").write_bytes(b"broken")
    with pytest.raises(InputError, match="no checkpoint that can be read"):
        finished(request)


def test_weights_of_unknown_origin_are_not_overwritten(request_for):
    request = request_for()
    request.out.write_bytes(b"mine")
    with pytest.raises(InputError, match="exists already"):
        finished(request)
    assert request.out.read_bytes() == b"mine"


def test_an_unusable_video_is_named_before_anything_is_trained(request_for, tmp_path):
    broken = tmp_path / "v_MoveUp_g09_c01.avi"
    broken.write_bytes(b"no video")
    request = request_for()
    clips = [{"label": "MoveUp", "path": str(broken)}, *(json.loads(clip.model_dump_json()) for clip in request.clips)]
    told = []
    with pytest.raises(InputError, match=r"v_MoveUp_g09_c01\.avi"):
        train(request_for(clips=clips), told.append)
    assert not any(event.get("stage") == "train" for event in told)


def test_clips_are_decoded_once_by_their_content(request_for, home, monkeypatch):
    finished(request_for("first"))

    def never(*_):
        raise AssertionError("decoded again")

    monkeypatch.setattr("worker.training.data.decode_clip", never)
    finished(request_for("second"))
    entry = next((home / "cache" / "clip").iterdir())
    assert load_arrays(entry)["frames"].dtype == np.uint8


def test_test_clips_are_measured_and_may_share_no_group(request_for):
    request = request_for()
    clips = [json.loads(clip.model_dump_json()) for clip in request.clips]
    test, rest = (
        [clip for clip in clips if "_g03_" in clip["path"]],
        [clip for clip in clips if "_g03_" not in clip["path"]],
    )
    told = finished(request_for(clips=rest, test_clips=test))
    assert told[-1]["accuracy"]["test"]["clips"] == 4
    with pytest.raises(InputError, match="MoveDown g3 is among the training clips too"):
        finished(request_for("other", test_clips=test))


def test_a_diverging_training_says_so(request_for, monkeypatch):
    monkeypatch.setattr("worker.training.loop.nn.utils.clip_grad_norm_", lambda *_: None)
    with pytest.raises(NumericalError, match="a smaller --rate may help"):
        finished(request_for(rate=1e30, epochs=20))


def test_a_frozen_imagenet_encoder_is_trained_under_and_left_out_of_the_file(request_for, tmp_path):
    request = request_for(
        model="efficientnet_lite0_lstm", model_args={"hidden": 8}, freeze_encoder=True, encoder_weights="imagenet",
        height=64, width=64,
    )  # fmt: skip
    finished(request)
    assert request.out.stat().st_size < 200_000
    info = read_weights(request.out)
    assert info.metadata.encoder == SHIPPED_ENCODERS["efficientnet_lite0_lstm"].sha256
    assert all(torch.equal(value, info.tensors[name]) for name, value in imagenet_state().items())


def test_an_encoder_starts_from_a_published_file_or_is_refused(tmp_path):
    torch.manual_seed(0)
    model = build("efficientnet_lite0_lstm", {"classes": 2, "hidden": 4})
    published = {name.removeprefix("encoder."): value for name, value in imagenet_state().items()}
    path = tmp_path / "published.pth"
    torch.save(published | {"_fc.weight": torch.zeros(1000, 1280), "_fc.bias": torch.zeros(1000)}, path)
    start_encoder(model, "efficientnet_lite0_lstm", str(path))
    assert all(torch.equal(model.state_dict()[name], value) for name, value in imagenet_state().items())
    bad = {
        "is missing": {name: value for name, value in published.items() if name != "_bn1.weight"},
        "has shape": published | {"_bn1.weight": torch.zeros(3)},
        "extra is unexpected": published | {"extra": torch.zeros(3)},
    }
    for problem, state in bad.items():
        torch.save(state, path)
        with pytest.raises(InputError, match=problem):
            start_encoder(model, "efficientnet_lite0_lstm", str(path))


def test_vgg16_starts_from_torchvisions_state_dict():
    with torch.device("meta"):
        model = build("vgg16_lstm", {"classes": 2, "hidden": 4})
    published = {**model.state_dict(), "classifier.6.weight": torch.zeros(1), "classifier.6.bias": torch.zeros(1)}
    assert vgg16_lstm.encoder_state(published).keys() == model.state_dict().keys()
    names = [name for name in model.state_dict() if not name.startswith(("lstm.", "dense."))]
    assert names[0] == "features.0.weight"
    chosen = trained_parameters(model, freeze_encoder=True)
    assert {name.partition(".")[0] for name in chosen} == {"lstm", "dense"}
    assert not any(model.get_parameter(name).requires_grad for name in names)
    assert len(trained_parameters(copy.deepcopy(model), freeze_encoder=False)) == len(names) + 6


@pytest.mark.parametrize(
    ("changes", "where", "problem"),
    [
        ({"model": "resnet"}, "model", "not one of"),
        ({"out": "w.pt"}, "out", "safetensors"),
        ({"out": "/no/such/folder/w.safetensors"}, "out", "no folder"),
        ({"encoder_weights": "imagenet"}, "encoder_weights", "no published encoder"),
        ({"model": "vgg16_lstm", "encoder_weights": "imagenet"}, "encoder_weights", "torchvision's vgg16"),
        ({"freeze_encoder": True}, "freeze_encoder", "never trained"),
        ({"validation_share": 1}, "validation_share", "less than 1"),
        ({"every": "0"}, "every", "greater than 0"),
        ({"classes": ["MoveUp", "MoveDown"]}, "DATASET", "none of the classes"),
        ({"classes": [*DIRECTIONS, "MoveUp"]}, "classes", "named twice"),
        ({"classes": ["MoveUp"]}, "classes", "at least 2"),
        ({"classes": [*DIRECTIONS, "Swim"]}, "DATASET", "no clip of the class 'Swim'"),
    ],
)
def test_what_cannot_be_trained_is_refused_at_its_option(request_for, changes, where, problem):
    with pytest.raises((InputError, ValidationError)) as caught:
        request_for(**changes)
    found = caught.value if isinstance(caught.value, InputError) else first_problem(caught.value)
    assert (found.where, problem in found.problem) == (where, True), found


def test_augmented_clips_change_alike_in_all_frames():
    clip = torch.rand(3, 20, 20, generator=torch.Generator().manual_seed(0)).expand(5, 3, 20, 20)[None]
    torch.manual_seed(0)
    changed = augment(clip)
    assert changed.shape == clip.shape
    assert changed.min() >= 0
    assert changed.max() <= 1
    assert not torch.equal(changed, clip)
    assert all(torch.equal(frame, changed[0, 0]) for frame in changed[0])
