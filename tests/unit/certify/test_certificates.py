"""Nothing inside a certified ball is adversarial, and what certificates do not cover is refused in words.

``make bench-guarantees`` attacks a hundred models, with a million samples.
"""

import math

import numpy as np
import pytest
import torch
from torch import nn

from common.errors import InputError
from common.features import parse_partition
from common.vocab import Norm
from worker.certify import Certificate, certified_radius, margin_lower_bound, supports
from worker.clip import PreparedClip
from worker.features import label_regions
from worker.models import build
from worker.models.frame_model import FrameLstm, FrameMean
from worker.plain import PlainEvaluator
from worker.real_margins import RealMargins

CPU = torch.device("cpu")
HEADS = ("cnn_lstm", "cnn_gru", "cnn_mean")
#: Allowance for the rounding of sampled margins, which are computed in float64.
ROUNDING = 1e-7


def random_clip(seed, frames=4, height=9, width=12, partition="grid:2x2"):
    """Random bytes, some of them black and white, with flows of which some are whole numbers: all kinks are met."""
    rng = np.random.default_rng(seed)
    flow = rng.normal(0, 2, (frames - 1, 2, height, width)).astype(np.float32)
    flow = np.where(rng.random(flow.shape) < 0.3, flow.round(), flow)
    images = np.clip(rng.integers(-60, 316, (frames, height, width, 3)), 0, 255).astype(np.uint8)
    return PreparedClip(images, flow, label_regions(parse_partition(partition), flow))


def random_module(seed, name, clip, scale=2.0):
    torch.manual_seed(seed)
    height, width = clip.frames.shape[1:3]
    args = {"classes": 3, "height": height, "width": width, "channels": [4, 5], "features": 6}
    module = build(name, args if name == "cnn_mean" else {**args, "hidden": 5}).eval()
    for parameter in module.requires_grad_(requires_grad=False).parameters():
        parameter.mul_(scale)
    return module


def random_case(seed, name=None, **clip):
    """A random clip with a random model, and the class the model takes it for."""
    rng = np.random.default_rng(seed)
    partition = str(rng.choice(["global", "grid:2x2", "grid:1x3", "superpixel:3"]))
    made = random_clip(seed, **{"partition": partition, **clip})
    module = random_module(seed, name or HEADS[seed % len(HEADS)], made, scale=rng.uniform(1.5, 3))
    plain = PlainEvaluator(made, module, 1.0, CPU, 64)
    return plain, int(plain.logits([()])[0].argmax())


def scales(plain, norm):
    """What a coordinate's pixels are multiplied by, so that the distance is the plain norm."""
    sizes = np.array(plain.clip.coordinate_sizes, dtype=float)
    return {Norm.L1: sizes, Norm.L2: np.sqrt(sizes), Norm.LINF: np.ones_like(sizes)}[norm]


def length(rows, norm):
    return np.linalg.norm(rows, {Norm.L1: 1, Norm.L2: 2, Norm.LINF: np.inf}[norm], axis=1, keepdims=True)


def samples(rng, norm, count, dimensions):
    """Changes in the scaled unit ball, most of them on its surface, many with few coordinates."""
    rows = rng.normal(size=(count, dimensions))
    rows[: count // 2] *= rng.random((count // 2, dimensions)) < 2 / dimensions
    rows[count // 4 : count // 2] = np.sign(rows[count // 4 : count // 2])
    rows /= np.maximum(length(rows, norm), 1e-12)
    return rows * rng.choice([1.0, 1.0, 0.5], (count, 1))


def steepest(gradients, norm):
    """Where in the unit ball linear functions with these gradients are least."""
    if norm is Norm.L1:
        rows = np.zeros_like(gradients)
        index = np.arange(len(rows)), np.abs(gradients).argmax(axis=1)
        rows[index] = -np.sign(gradients[index])
        return rows
    rows = -gradients if norm is Norm.L2 else -np.sign(gradients)
    return rows / np.maximum(length(rows, norm), 1e-12)


def worst_margin(plain, label, norm, radius, seed, many=400, steps=10):
    """The least margin that samples and projected gradient steps meet within the ball."""
    margins, scale = RealMargins(plain, label).in_float64(), scales(plain, norm)
    rng = np.random.default_rng(seed)
    rows = samples(rng, norm, many, len(scale)) * radius
    found = margins.margins(rows / scale)
    rows = rows[np.argsort(found)[:6]]
    least = found.min()
    for step in range(steps):
        _, gradients = margins.gradients(rows / scale, np.full(len(rows), -1))
        rows = rows + radius / (1 + step) * steepest(gradients / scale, norm)
        rows /= np.maximum(length(rows, norm) / radius, 1.0)
        least = min(least, margins.margins(rows / scale).min())
    return least


@pytest.mark.parametrize("norm", list(Norm))
@pytest.mark.parametrize("seed", range(15))
def test_nothing_inside_a_certified_ball_is_adversarial(norm, seed):
    plain, label = random_case(seed)
    certificate = certified_radius(plain, label, norm, upper=math.inf)
    assert certificate.radius > 0
    assert certificate.margin_bound > 0
    # The bound itself is below what is met, also where it is far from zero.
    assert worst_margin(plain, label, norm, certificate.radius, seed) >= certificate.margin_bound - ROUNDING


@pytest.mark.parametrize("norm", list(Norm))
@pytest.mark.parametrize("seed", range(9))
def test_margin_bounds_hold_at_radii_of_any_size(norm, seed):
    plain, label = random_case(seed)
    widest = 1.0 / float((1.0 / scales(plain, norm)).max())
    # Displacements of a hundredth of a pixel to two pixels: within a cell, and across several.
    for pixels in (0.01, 0.3, 2.0):
        bound = margin_lower_bound(plain, label, norm, pixels * widest)
        assert bound <= worst_margin(plain, label, norm, pixels * widest, seed, many=100, steps=4) + ROUNDING


@pytest.mark.parametrize("name", HEADS)
def test_a_radius_of_zero_gives_the_exact_margin(name):
    plain, label = random_case(3, name)
    exact = RealMargins(plain, label).in_float64().margins(np.zeros((1, len(plain.clip.coordinate_sizes))))[0]
    bound = margin_lower_bound(plain, label, Norm.L2, 0.0)
    assert exact - 1e-7 < bound <= exact


@pytest.mark.parametrize("norm", list(Norm))
def test_bounds_fall_as_the_radius_grows(norm):
    for seed in range(3):
        plain, label = random_case(seed)
        unit = certified_radius(plain, label, norm, upper=math.inf).radius
        bounds = [margin_lower_bound(plain, label, norm, unit * factor) for factor in (0, 0.1, 0.3, 0.6, 1.0, 1.5)]
        assert bounds == sorted(bounds, reverse=True)


def test_small_balls_are_bounded_almost_as_tightly_as_the_gradient_says():
    plain, label = random_case(1, "cnn_lstm")
    exact, scale = RealMargins(plain, label).in_float64(), scales(plain, Norm.L2)
    radius = 1e-3
    worst = worst_margin(plain, label, Norm.L2, radius, seed=0)
    still = exact.margins(np.zeros((1, len(scale))))[0]
    # Kinks at positions that are whole numbers make up most of the factor.
    assert still - margin_lower_bound(plain, label, Norm.L2, radius) < 6 * (still - worst)


def test_a_misclassified_clip_gets_no_radius():
    plain, label = random_case(2)
    certificate = certified_radius(plain, (label + 1) % 3, Norm.L2, upper=10.0)
    assert (certificate.radius, certificate.checks) == (0.0, 1)
    assert certificate.margin_bound < 0


def test_the_radius_never_exceeds_the_upper_bound_given():
    plain, label = random_case(1)
    free = certified_radius(plain, label, Norm.L2, upper=math.inf).radius
    assert certified_radius(plain, label, Norm.L2, upper=free / 3).radius == free / 3


def test_a_stop_returns_what_was_proved_so_far():
    plain, label = random_case(1)
    free = certified_radius(plain, label, Norm.L2, upper=math.inf)
    asked = iter(range(10_000))
    # Enough for the unchanged clip of four frames and one more radius.
    stopped = certified_radius(plain, label, Norm.L2, upper=math.inf, stop=lambda: next(asked) > 13)
    assert 0 < stopped.radius < free.radius
    assert stopped.checks < free.checks
    assert certified_radius(plain, label, Norm.L2, upper=math.inf, stop=lambda: True).radius == 0


@pytest.mark.parametrize("seed", range(3))
def test_a_stored_certificate_is_checked_again_with_the_same_number(seed):
    plain, label = random_case(seed)
    certificate = certified_radius(plain, label, Norm.L2, upper=math.inf)
    assert margin_lower_bound(plain, label, Norm.L2, certificate.radius) == certificate.margin_bound


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_numbers_that_are_not_finite_are_never_certified(bad):
    plain, label = random_case(0, "cnn_lstm")
    plain.module.dense.weight[label, 0] = bad
    assert margin_lower_bound(plain, label, Norm.L2, 0.1) == -math.inf
    assert certified_radius(plain, label, Norm.L2, upper=1.0) == Certificate(0.0, -math.inf, 1)
    plain, label = random_case(0, "cnn_gru")
    plain.module.encoder[0].weight[0, 0, 0, 0] = bad
    assert certified_radius(plain, label, Norm.L2, upper=1.0) == Certificate(0.0, -math.inf, 1)


class UserMean(FrameMean):
    """A user's model, with every kind of layer that is supported."""

    def __init__(self, layers, features):
        super().__init__(features, 3)
        self.layers = nn.Sequential(*layers)

    def encode(self, frames):
        return self.layers(frames)

    def encoder_layers(self):
        return self.layers


def user_layers():
    return [
        nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(4, 4, 3, padding=1),
        nn.ReLU(), nn.AvgPool2d(2), nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Dropout(), nn.Linear(16, 5),
        nn.BatchNorm1d(5), nn.ReLU(),
    ]  # fmt: skip


def user_case(seed, module):
    clip = random_clip(seed)
    module = module.eval().requires_grad_(requires_grad=False)
    plain = PlainEvaluator(clip, module, 1.0, CPU, 64)
    return plain, int(plain.logits([()])[0].argmax())


@pytest.mark.parametrize("norm", list(Norm))
@pytest.mark.parametrize("seed", range(4))
def test_every_supported_layer_is_certified_soundly(norm, seed):
    torch.manual_seed(seed)
    module = UserMean(user_layers(), 5)
    for layer in module.layers:
        if isinstance(layer, (nn.BatchNorm1d, nn.BatchNorm2d)):
            layer.running_mean.normal_(std=0.1)
            layer.running_var.uniform_(0.2, 2)
            layer.weight.data.uniform_(-2, 2)
    plain, label = user_case(seed, module)
    certificate = certified_radius(plain, label, norm, upper=math.inf)
    assert certificate.radius > 0
    assert worst_margin(plain, label, norm, certificate.radius, seed) >= certificate.margin_bound - ROUNDING


@pytest.mark.parametrize(
    ("layer", "words"),
    [
        (nn.GELU(), "GELU"),
        (nn.Conv2d(3, 3, 3, padding=1, padding_mode="circular"), "Conv2d with padding"),
        (nn.MaxPool2d(2, ceil_mode=True), "MaxPool2d with ceil_mode"),
        (nn.BatchNorm2d(3, track_running_stats=False), "BatchNorm2d without running statistics"),
    ],
)
def test_a_layer_that_is_not_supported_is_named(layer, words):
    module = UserMean([layer, nn.Flatten(), nn.LazyLinear(5)], 5)
    module(torch.zeros(1, 2, 3, 9, 12))
    plain, label = user_case(0, module)
    reason = supports(plain.module)
    assert reason.startswith(words)
    assert reason.endswith("is not supported by continuous certificates")
    with pytest.raises(InputError, match="is not supported by continuous certificates"):
        certified_radius(plain, label, Norm.L2, upper=1.0)
    with pytest.raises(InputError, match="is not supported by continuous certificates"):
        margin_lower_bound(plain, label, Norm.L2, 0.1)


def test_models_that_are_not_supported_are_refused():
    assert "Linear is not supported" in supports(nn.Linear(3, 3))
    deep = build("cnn_lstm", {"classes": 3, "height": 9, "width": 12})
    deep.lstm = nn.LSTM(64, 64, num_layers=2, batch_first=True)
    assert "LSTM of more than one layer" in supports(deep)

    class Unlayered(FrameLstm):
        def encode(self, frames):
            return frames.flatten(1)

    assert "Unlayered is not supported" in supports(Unlayered(324, 4, 3))
    for name in (*HEADS, "vgg16_lstm"):
        sizes = {} if name == "vgg16_lstm" else {"height": 9, "width": 12}
        with torch.device("meta"):
            assert supports(build(name, {"classes": 3, **sizes}).eval()) is None


def test_layers_that_are_not_those_of_the_encoder_are_refused():
    class Liar(UserMean):
        def encode(self, frames):
            return self.layers(frames) * 1.01

    plain, label = user_case(0, Liar([nn.Flatten(), nn.Linear(324, 5)], 5))
    with pytest.raises(InputError, match=r"encoder_layers\(\) compute something else"):
        certified_radius(plain, label, Norm.L2, upper=1.0)
