"""Factorised evaluation equals the plain one, for random models, clips, points and depths, under any memory budget."""

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from common.errors import DeviceMemoryError, InputError, NumericalError
from common.game import whole
from common.game.blocks import blocks
from common.game.tree import Game
from common.vocab import Norm
from worker.clip import PreparedClip
from worker.factorised import FactorisedEvaluator
from worker.factorised.agreement import require_agreement
from worker.factorised.slots import Slots, TooManyRows
from worker.halving import Halving
from worker.models import MODELS, build
from worker.models.lstm_kernel import lstm_advance, lstm_branch
from worker.models.recurrence import Factorised
from worker.plain import PlainEvaluator
from worker.tolerances import FLOAT32_BAND

HEADS = {"cnn_lstm": {"hidden": 7}, "cnn_gru": {"hidden": 7}, "cnn_mean": {}}
ROOMY = 2**26


def evaluator_of(name, seed, *, length=4, side=12, regions=2, budget=ROOMY):
    rng = np.random.default_rng(seed)
    torch.manual_seed(seed)
    args = {"classes": 3, "height": side, "width": side, "channels": [4, 6], "features": 5} | HEADS[name]
    module = build(name, args).eval().requires_grad_(False)
    for parameter in module.parameters():
        parameter.mul_(2.0)
    frames = rng.integers(0, 256, (length, side, side, 3)).astype(np.uint8)
    flow = rng.normal(size=(length - 1, 2, side, side)).astype(np.float32)
    labels = rng.integers(0, regions, (length - 1, side, side)).astype(np.int32)
    labels[:, 0, :regions] = np.arange(regions)
    plain = PlainEvaluator(PreparedClip(frames, flow, labels), module, 0.7, torch.device("cpu"), batch=16)
    return plain, FactorisedEvaluator(plain, module, budget)


def random_points(rng, coordinates, count, deepest=5):
    points = [()]
    for _ in range(count):
        chosen = sorted(rng.choice(coordinates, rng.integers(1, min(deepest, coordinates) + 1), replace=False))
        points.append(tuple((int(j), int(rng.choice([-3, -2, -1, 1, 2, 3]))) for j in chosen))
    return points


def assert_equal(fast, plain):
    scale = 1 + np.abs(plain).max()
    assert np.abs(fast - plain).max() < FLOAT32_BAND / 10 * scale


@pytest.mark.parametrize("name", HEADS)
@given(seed=st.integers(0, 10_000), length=st.integers(2, 6), regions=st.integers(1, 4))
@settings(max_examples=12, deadline=None)
def test_the_two_paths_agree_at_any_depth(name, seed, length, regions):
    plain, fast = evaluator_of(name, seed, length=length, regions=regions)
    points = random_points(np.random.default_rng(seed), len(plain.clip.coordinate_sizes), 40)
    assert_equal(fast.logits(points), plain.logits(points))
    # Asked again, everything comes from what is kept.
    computed = fast.variants_computed
    assert_equal(fast.logits(points[::-1]), plain.logits(points[::-1]))
    assert fast.variants_computed == computed


@pytest.mark.parametrize("name", HEADS)
@pytest.mark.parametrize("budget", [1, 1_500, 6_000, 40_000])
def test_a_point_beyond_the_cache_costs_recomputation_never_failure(name, budget):
    plain, fast = evaluator_of(name, seed=3, length=6, regions=3, budget=budget)
    points = random_points(np.random.default_rng(1), len(plain.clip.coordinate_sizes), 60)
    for _ in range(2):
        assert_equal(fast.logits(points), plain.logits(points))


def test_each_distinct_variant_is_encoded_once_over_a_whole_level():
    plain, fast = evaluator_of("cnn_lstm", seed=5, length=5, regions=2)
    game = Game((1,) * len(plain.clip.coordinate_sizes), Norm.L1)
    seen = set()
    for block, _ in blocks(game, whole(game), 0, lambda: 4, lambda: 64):
        fast.logits(block)
        for point in block:
            flows = plain.clip.coordinate_table.t
            seen |= {(t, tuple(m for m in point if flows[m[0]] == t)) for t in range(4)}
    assert fast.variants_computed == len({variant for variant in seen if variant[1]})


def test_registered_models_can_be_taken_apart_and_other_modules_cannot():
    vgg = build("vgg16_lstm", {"classes": 3, "hidden": 4})
    assert isinstance(vgg, Factorised)
    assert set(MODELS) == {"cnn_lstm", "cnn_gru", "cnn_mean", "vgg16_lstm", "efficientnet_lite0_lstm"}
    assert not isinstance(torch.nn.Linear(2, 2), Factorised)


def test_vgg_agrees_with_its_plain_path():
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    module = build("vgg16_lstm", {"classes": 3, "hidden": 8}).eval().requires_grad_(False)
    frames = rng.integers(0, 256, (3, 32, 32, 3)).astype(np.uint8)
    clip = PreparedClip(frames, rng.normal(size=(2, 2, 32, 32)).astype(np.float32), np.zeros((2, 32, 32), np.int32))
    plain = PlainEvaluator(clip, module, 1.0, torch.device("cpu"), batch=4)
    points = [(), ((0, 1),), ((1, -1), (2, 1)), ((3, 2),)]
    assert_equal(FactorisedEvaluator(plain, module, ROOMY).logits(points), plain.logits(points))


def test_out_of_memory_halves_and_goes_on():
    tried = []

    def work(part):
        tried.append(part.stop - part.start)
        if part.stop - part.start > 3:
            raise torch.OutOfMemoryError
        return list(range(part.start, part.stop))

    halving = Halving(12, "points")
    assert list(itertools.chain.from_iterable(halving.run(10, work))) == list(range(10))
    assert tried == [10, 5, 2, 2, 2, 2, 2]
    assert halving.size == 2
    with pytest.raises(DeviceMemoryError, match="one of the points, where batches of 4 are wanted: OutOfMemoryError"):
        Halving(4, "points").run(2, lambda _part: (_ for _ in ()).throw(torch.OutOfMemoryError()))


def test_slots_drop_what_was_used_longest_ago_and_never_what_is_needed():
    slots = Slots(3, (1,), torch.float32, torch.device("cpu"))
    slots.make_room(2, ())
    first, second = slots.take("a", 1), slots.take("b", 1)
    assert slots.held("a") == first
    slots.make_room(2, ("c",))
    slots.take("c", 2)
    assert slots.held("b") is None
    assert slots.held("a") == first
    assert second[0] in slots.held("c")
    with pytest.raises(TooManyRows):
        slots.make_room(2, ("a", "c"))


def test_making_room_looks_at_each_family_once():
    """A block has thousands of prefixes, all of them needed; looked at again for each row, they took a quarter hour."""

    class Needed(set[int]):
        asked = 0

        def __contains__(self, key: object) -> bool:
            self.asked += 1
            return super().__contains__(key)

    slots = Slots(2_000, (1,), torch.float32, torch.device("cpu"))
    slots.make_room(2_000, ())
    for key in range(2_000):
        slots.take(key, 1)
    needed = Needed(range(1_000))
    slots.make_room(1_000, needed)
    for key in range(2_000, 3_000):
        slots.take(key, 1)
    assert needed.asked == 2_000
    assert [slots.held(key) is not None for key in (0, 999, 1_000, 1_999, 2_000)] == [True, True, False, False, True]


class Liar(torch.nn.Module):
    """A user's model whose parts do not add up to its forward."""

    def __init__(self, honest):
        super().__init__()
        self.honest = honest

    def encode(self, frames):
        return self.honest.encode(frames)

    def recurrence(self):
        return self.honest.recurrence()

    def forward(self, clips):
        return self.honest(clips.flip(1))


def test_a_model_whose_parts_are_not_its_whole_is_refused():
    plain, fast = evaluator_of("cnn_lstm", seed=2)
    require_agreement(fast, plain)
    lying = PlainEvaluator(plain.clip, Liar(plain.module), plain.tau, plain.device, plain.batch)
    with pytest.raises(InputError, match="model: its encode and recurrence do not give what its forward gives"):
        require_agreement(FactorisedEvaluator(lying, lying.module, ROOMY), lying)


def test_enormous_features_are_an_error_not_a_verdict():
    plain, _ = evaluator_of("cnn_lstm", seed=2)
    plain.module.encoder[-1].bias[0] = 3e38
    with pytest.raises(NumericalError, match="enormous"):
        FactorisedEvaluator(plain, plain.module, ROOMY)


@given(st.floats(-40, 40, width=32), st.floats(-5, 5, width=32))
def test_the_kernel_is_an_lstm_step_far_inside_the_band(pre, cell):
    gates = np.array([[pre, -pre, pre / 2, pre + 1]], np.float32)
    enter, forget, new, leave = (float(x) for x in gates[0])
    wanted = 1 / (1 + np.exp(-forget)) * cell + np.tanh(new / 2) / (1 + np.exp(-enter))
    before = np.array([[9.0, 9.0], [0.0, cell]], np.float32)
    after = np.full((1, 2), np.nan, np.float32)
    frames = np.array([[8.0, 8, 8, 8], [1, 2, 3, 4]], np.float32)
    products = np.concatenate([gates * 0, gates - frames[1]])
    lstm_branch(products, before, np.array([1]), frames, np.array([1]), after)
    states = before[1:].copy()
    lstm_advance(gates, np.zeros(4, np.float32), states)
    for hidden, cell_after in (states[0], after[0]):
        assert abs(cell_after - wanted) < 8e-6
        assert abs(hidden - np.tanh(wanted) / (1 + np.exp(-leave))) < 8e-6
