"""The plain evaluation says of grid points what the model says of manipulated clips, within the tolerances promised."""

import copy

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from common.errors import NumericalError
from common.features import parse_partition
from common.game import ROOT
from worker.clip import PreparedClip, frames_tensor
from worker.features import label_regions
from worker.judge import Call, Judge
from worker.models import build
from worker.plain import PlainEvaluator, dense, margins
from worker.real_margins import RealMargins
from worker.tolerances import FLOAT32_BAND, FLOAT64_BAND

CPU = torch.device("cpu")


def random_clip(seed, frames=4, height=9, width=12, partition="grid:2x2"):
    """A clip without a video: any bytes are frames, any finite numbers are flows."""
    rng = np.random.default_rng(seed)
    flow = rng.normal(0, 2, (frames - 1, 2, height, width)).astype(np.float32)
    # Away from black and white, where clipping would make the margin's gradient one-sided.
    images = rng.integers(30, 226, (frames, height, width, 3), dtype=np.uint8)
    return PreparedClip(images, flow, label_regions(parse_partition(partition), flow))


def random_model(seed, clip, classes=3, scale=1.0):
    torch.manual_seed(seed)
    height, width = clip.frames.shape[1:3]
    args = {"classes": classes, "height": height, "width": width, "hidden": 8, "channels": [4, 6], "features": 8}
    module = build("cnn_lstm", args).eval().requires_grad_(requires_grad=False)
    for parameter in module.parameters():
        parameter.mul_(scale)
    return module


def evaluator(seed=0, tau=0.7, batch=5, scale=1.0, **clip):
    made = random_clip(seed, **clip)
    return PlainEvaluator(made, random_model(seed, made, scale=scale), tau, CPU, batch)


def random_points(seed, coordinates, many, most=6):
    """Points with one to four moved coordinates."""
    rng = np.random.default_rng(seed)
    found = []
    for _ in range(many):
        moved = sorted(rng.choice(coordinates, size=rng.integers(1, 5), replace=False))
        found.append(tuple((int(j), int(rng.choice([-1, 1]) * rng.integers(1, most + 1))) for j in moved))
    return found


@given(
    st.integers(0, 10_000),
    st.floats(0.5, 3.0),
    st.sampled_from([0.1, 0.5, 1.0, 3.7]),
    st.sampled_from(["global", "grid:2x3", "superpixel:3", "pixel"]),
    st.integers(3, 8),
)
@settings(max_examples=60, deadline=None)
def test_float32_stays_within_a_tenth_of_its_band(seed, scale, tau, partition, frames):
    plain = evaluator(seed, tau, scale=scale, partition=partition, frames=frames)
    points = [ROOT, *random_points(seed, len(plain.clip.coordinate_sizes), 12)]
    single, double = plain.logits(points), plain.in_float64().logits(points)
    width = FLOAT32_BAND / 10 * (1 + np.abs(double).max(axis=1))
    assert (np.abs(single - double).max(axis=1) <= width).all()


def test_the_model_reacts_to_manipulations_far_more_than_to_rounding():
    plain = evaluator(scale=2.0)
    logits = plain.logits([ROOT, *random_points(0, len(plain.clip.coordinate_sizes), 50)])
    assert np.abs(logits[1:] - logits[0]).max() > 100 * FLOAT32_BAND


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_unchanged_clip_gives_the_models_own_logits_bit_for_bit(seed, dtype):
    plain = evaluator(seed)
    plain = plain if dtype is torch.float32 else plain.in_float64()
    # With gradients torch chooses another LSTM kernel, which rounds otherwise.
    with torch.no_grad():
        own = plain.module(frames_tensor(plain.clip, dtype)[None]).double().numpy()
    assert np.array_equal(plain.logits([ROOT]), own)


def test_in_a_batch_each_point_has_its_own_clip():
    plain = evaluator(batch=64)
    coordinates = len(plain.clip.coordinate_sizes)
    points = [*random_points(3, coordinates, 20), ROOT]
    together = plain.manipulated(dense(points, coordinates))
    for clip, point in zip(together, points, strict=True):
        assert torch.equal(clip, plain.manipulated(dense([point], coordinates))[0])
    assert torch.equal(together[-1], frames_tensor(plain.clip, torch.float32))
    assert not torch.equal(together[0], together[-1])


def test_batches_of_any_size_give_the_same_logits():
    points = random_points(1, len(evaluator().clip.coordinate_sizes), 11)
    alone = evaluator(batch=1).in_float64().logits(points)
    for batch in (1, 4, 11, 100):
        assert evaluator(batch=batch).logits(points) == pytest.approx(alone, abs=FLOAT32_BAND / 10)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_model_that_turns_bad_at_run_time_is_an_error_and_never_a_verdict(bad):
    plain = evaluator()
    assert np.isfinite(plain.logits([ROOT])).all()
    plain.module.dense.bias[1] = bad
    points = random_points(0, len(plain.clip.coordinate_sizes), 3)
    for judged in (plain, plain.in_float64()):
        with pytest.raises(NumericalError, match="NaN or infinity"):
            judged.logits(points)
    with pytest.raises(NumericalError):
        Judge(plain, plain, 0).judge(points)


def test_a_gradient_that_is_no_number_is_an_error():
    plain = evaluator()
    plain.module.encoder[0].weight[0, 0, 0, 0] = float("nan")
    with pytest.raises(NumericalError):
        plain.margin_gradient(ROOT, 0)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("partition", ["global", "grid:2x2"])
def test_the_gradient_is_that_of_finite_differences(seed, partition):
    plain = evaluator(seed, partition=partition, scale=1.5).in_float64()
    coordinates = len(plain.clip.coordinate_sizes)
    for point in [ROOT, *random_points(seed, coordinates, 2)]:
        margin, gradient = plain.margin_gradient(point, 1)
        assert margin == pytest.approx(float(margins(plain.logits([point]), 1)[0]), abs=1e-12)
        step = 1e-6
        moved = dense([point] * 2 * coordinates, coordinates).astype(np.float64)
        moved[range(coordinates), range(coordinates)] += step
        moved[range(coordinates, 2 * coordinates), range(coordinates)] -= step
        found = RealMargins(plain, 1).margins(moved * plain.tau)
        differences = (found[:coordinates] - found[coordinates:]) / (2 * step)
        assert np.abs(gradient).max() > 1e-4
        assert gradient == pytest.approx(differences, rel=1e-4, abs=1e-7)


def test_a_gradient_after_an_exploration_of_the_same_clip_works():
    plain = evaluator()
    points = random_points(0, len(plain.clip.coordinate_sizes), 2)
    before = plain.logits(points)
    plain.margin_gradient(points[0], 0)
    assert np.array_equal(plain.logits(points), before)
    assert plain.margin_gradient(points[0], 0)[0] == pytest.approx(float(margins(before, 0)[0]), abs=1e-5)


class Given:
    """An evaluator that gives each point the margin it is told, and remembers what it was asked."""

    batch = 8

    def __init__(self, values):
        self.values, self.asked = values, []

    def logits(self, points):
        self.asked += list(points)
        return np.array([[self.values[point], 0.0] for point in points])


class GivenPlain(Given):
    """The same, whose float64 form is exact."""

    def in_float64(self):
        return self


def test_only_points_near_the_border_are_decided_in_float64():
    safe, adversarial, near, tie = (((j, 1),) for j in range(4))
    fast = Given({safe: 1.0, adversarial: -1.0, near: FLOAT32_BAND / 2, tie: -FLOAT32_BAND / 2})
    plain = GivenPlain({near: -FLOAT64_BAND * 2, tie: FLOAT64_BAND / 2})
    judgement = Judge(fast, plain, 0).judge([safe, near, adversarial, tie])
    assert list(judgement.calls) == [Call.SAFE, Call.ADVERSARIAL, Call.ADVERSARIAL, Call.UNDECIDED]
    assert plain.asked == [near, tie]
    # What was decided in float64 has that margin, and less doubt.
    assert list(judgement.margins) == [1.0, -FLOAT64_BAND * 2, -1.0, FLOAT64_BAND / 2]
    assert list(judgement.rounding > FLOAT64_BAND * 3) == [True, False, True, False]


def test_large_logits_widen_the_bands():
    point = ((0, 1),)

    class Large(GivenPlain):
        def logits(self, points):
            return super().logits(points) + 1000.0

    assert Judge(Large({point: 0.05}), GivenPlain({point: 1.0}), 0).judge([point]).calls == [Call.SAFE]
    assert Judge(Large({point: 0.05}), Large({point: 5e-7}), 0).judge([point]).calls == [Call.UNDECIDED]
    assert Judge(Large({point: 0.15}), GivenPlain({}), 0).judge([point]).calls == [Call.SAFE]


def test_the_judge_agrees_with_float64_about_every_point():
    plain = evaluator(7, scale=2.0)
    points = [ROOT, *random_points(5, len(plain.clip.coordinate_sizes), 200)]
    exact = plain.in_float64().logits(points)
    module = copy.deepcopy(plain.module)
    # A border through the middle of the points: half of them adversarial, one of them on it.
    module.dense.bias[0] -= float(np.median(margins(exact, 0)))
    moved = PlainEvaluator(plain.clip, module, plain.tau, CPU, 16)
    truth = margins(moved.in_float64().logits(points), 0)
    calls = Judge(moved, moved, 0).judge(points).calls
    sure = np.abs(truth) > 1e-6
    assert sure.sum() >= len(points) - 2
    assert 50 < (calls == Call.ADVERSARIAL).sum() < 150
    assert np.array_equal(calls[sure] == Call.ADVERSARIAL, truth[sure] < 0)
