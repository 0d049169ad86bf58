"""Bounds of every layer enclose what the layer gives for sampled inputs."""

import math
from functools import partial

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from common.vocab import Norm
from worker.certify import relax
from worker.certify.ball import Ball, pixels_per_unit
from worker.certify.encoder import FeatureForms
from worker.certify.forms import Form, add, linear, multiply, promote, relaxed
from worker.certify.heads import last_state
from worker.certify.layers import steps_of
from worker.certify.maps import Forms
from worker.certify.pixel_remainders import PixelRemainders
from worker.certify.remainders import Way
from worker.certify.warp_bounds import KNOTS, manipulated_frames, warp_change
from worker.certify.windows import MAPS, Lattice, lattices, traced
from worker.models.frame_model import FrameGru, FrameLstm, FrameMean
from worker.warp import manipulated_frame, warp

#: Rounding of the sampled values themselves.
ROUNDING = 1e-9
NORMS = st.sampled_from(list(Norm))
SEEDS = st.integers(0, 100_000)
#: One function for all of its inputs.
WHOLE = Lattice((1, 1), (0, 0), (1, 1))
EXPONENTS = {Norm.L1: 1, Norm.L2: 2, Norm.LINF: math.inf}


def normal(*size):
    return torch.randn(*size, dtype=torch.float64)


def in_ball(norm, *size):
    """Points of the unit ball along the last dimension, most on its surface, some of few coordinates."""
    points = normal(*size) * (torch.rand(*size) < torch.rand(*size[:-1], 1)).double()
    points = torch.where(torch.rand(*size[:-1], 1) < 0.3, points.sign(), points)
    length = torch.linalg.vector_norm(points, EXPONENTS[norm], -1, keepdim=True).clamp(min=1e-12)
    return points / length * torch.rand(*size[:-1], 1, dtype=torch.float64).clamp(min=0.5).round(decimals=1)


def size_of(points, norm, dim=-1):
    return torch.linalg.vector_norm(points, EXPONENTS[norm], dim)


@given(SEEDS, st.floats(1e-9, 30), st.sampled_from(["sigmoid", "tanh"]))
@settings(max_examples=80, deadline=None)
def test_relaxations_of_smooth_functions_enclose_samples(seed, width, name):
    torch.manual_seed(seed)
    low = 5 * normal(50)
    high = low + width * torch.rand(50, dtype=torch.float64)
    slope, offset, error = getattr(relax, name)(low, high)
    points = low + (high - low) * torch.linspace(0, 1, 101, dtype=torch.float64)[:, None]
    rest = getattr(torch, name)(points) - slope * points - offset
    assert (rest.abs() <= error + 1e-15).all()
    # Never wider than the second derivative allows around the middle; that of either function is at most 0.77.
    assert (error <= 0.77 / 2 * ((high - low) / 2) ** 2 + 1e-9).all()


@given(SEEDS, st.floats(0, 5), st.sampled_from(["relu", "clip"]))
@settings(max_examples=60, deadline=None)
def test_cones_enclose_samples(seed, width, name):
    torch.manual_seed(seed)
    if name == "relu":
        function, center = torch.relu, torch.cat([normal(40), torch.zeros(5)])
    else:
        function = partial(torch.clamp, min=0, max=1)
        center = torch.cat([torch.rand(40), torch.zeros(3), torch.ones(2)]).double()
    span = width * torch.rand(45, dtype=torch.float64)
    slope, share = getattr(relax, name)(center, span)
    step = span * torch.linspace(-1, 1, 101, dtype=torch.float64)[:, None]
    rest = function(center + step) - function(center) - slope * step
    assert (rest.abs() <= share * step.abs() + 1e-14).all()
    certain = (center.abs() > span) if name == "relu" else (center > span) & (1 - center > span)
    assert (share[certain] == 0).all()


def random_frames(seed, height=6, width=7):
    """A frame with its next one and a flow that leaves the frame at places, some of whose positions are whole."""
    rng = np.random.default_rng(seed)
    torch.manual_seed(seed)
    frames = torch.from_numpy(np.clip(rng.uniform(-0.3, 1.3, (2, 1, 3, height, width)), 0, 1))
    flow = rng.normal(0, 3, (1, 2, height, width))
    return frames[0], frames[1], torch.from_numpy(np.where(rng.random(flow.shape) < 0.3, flow.round(), flow))


@given(SEEDS, NORMS, st.sampled_from([1e-7, 0.03, 0.3, 1.0, 2.7]))
@settings(max_examples=80, deadline=None)
def test_warp_bounds_enclose_samples(seed, norm, most):
    frame, _, flow = random_frames(seed)
    reach = most * torch.rand(1, *flow.shape[2:], dtype=torch.float64).clamp(min=0.1)
    slopes, error, _ = warp_change(frame, flow, reach, norm)
    for _ in range(40):
        step = in_ball(norm, *reach.shape, 2).movedim(-1, 1) * reach[:, None]
        change = warp(frame, flow + step) - warp(frame, flow)
        rest = change - (slopes * step[:, :, None]).sum(1)
        allowed = (error * (step.abs() / reach[:, None])[:, :, None]).sum(1)
        assert (rest.abs() <= allowed + ROUNDING).all()


@given(SEEDS, NORMS, st.sampled_from([1e-3, 0.03, 0.3, 1.7]))
@settings(max_examples=60, deadline=None)
def test_sums_over_regions_are_enclosed_by_signed_forms(seed, norm, radius):
    previous, current, flow = random_frames(seed)
    # Most pixels of real clips are almost on the pixel grid.
    flow = flow.round() + 0.05 * radius * normal(*flow.shape) if seed % 2 else flow
    labels, unit = torch.randint(3, flow.shape[2:]), 0.2 + torch.rand(3, dtype=torch.float64)
    forms = manipulated_frames(previous, current, flow, unit[labels][None], Ball(norm, radius))
    remainders, rows = PixelRemainders(forms.signed, labels, 3), normal(5, 3, *flow.shape[2:])
    effect = remainders.effect(rows, WHOLE, None)[0]
    single = remainders.effect(rows.float(), WHOLE, None)[0]
    assert ((single - effect).abs() <= 1e-5 * (rows.abs() * remainders.sizes).sum((1, 2, 3))[:, None]).all()
    for _ in range(40):
        x = radius * in_ball(norm, 6).view(3, 2)
        by_pixel = x[labels].movedim(-1, 0)[None]
        rest = manipulated_frame(previous, current, flow, by_pixel * unit[labels]) - forms.center
        rest = rest - (forms.slopes * by_pixel[:, :, None]).sum(1)
        shares = torch.cat([x.flatten().abs() / radius, torch.ones(1, dtype=torch.float64)])
        assert (((rows * rest).sum((1, 2, 3))).abs() <= effect @ shares + ROUNDING).all()


@given(SEEDS, NORMS, st.sampled_from([0.03, 0.3, 1.7]))
@settings(max_examples=60, deadline=None)
def test_manipulated_frames_are_enclosed(seed, norm, radius):
    previous, current, flow = random_frames(seed)
    ball, unit = Ball(norm, radius), torch.rand(1, *flow.shape[2:], dtype=torch.float64).clamp(min=0.2)
    forms = manipulated_frames(previous, current, flow, unit, ball)
    assert torch.equal(forms.center, current)
    for _ in range(40):
        x = radius * in_ball(norm, *unit.shape, 2).movedim(-1, 1)
        frame = manipulated_frame(previous, current, flow, x * unit[:, None])
        rest = frame - forms.center - (forms.slopes * x[:, :, None]).sum(1)
        allowed = (forms.error * (x.abs() / radius)[:, :, None]).sum(1)
        assert (rest.abs() <= allowed + ROUNDING).all()


@given(SEEDS, st.integers(0, 1), st.sampled_from([1e-3, 0.3, 1.6]))
@settings(max_examples=30, deadline=None)
def test_pixels_differ_from_lines_between_knots_by_no_more_than_tents(seed, axis, radius):
    frame, _, flow = random_frames(seed)
    # Every pixel has a kink within the ball.
    flow = flow.round() + radius * torch.empty_like(flow).uniform_(-1, 1)
    slopes, _, signed = warp_change(frame, flow, torch.full_like(flow[:, 0], radius), Norm.L2)
    shares = torch.tensor(KNOTS, dtype=torch.float64)
    for sign, first in ((1, 0), (-1, 1)):
        at_knots = signed.knots[:, axis, first::2] * shares.view(-1, 1, 1, 1)
        for share in torch.linspace(0, 1, 61, dtype=torch.float64)[1:]:
            step = torch.zeros_like(flow)
            step[:, axis] = sign * share * radius
            rest = warp(frame, flow + step) - warp(frame, flow) - sign * share * radius * slopes[:, axis]
            after = int(torch.searchsorted(shares, share))
            high, low = shares[after], shares[after - 1] if after else torch.zeros(()).double()
            before = at_knots[:, after - 1] if after else torch.zeros_like(rest)
            line = before + (share - low) / (high - low) * (at_knots[:, after] - before)
            assert ((rest - line).abs() <= share * signed.error[:, axis] + signed.still + 1e-12).all()


@given(SEEDS, NORMS)
@settings(max_examples=20, deadline=None)
def test_rows_in_float32_are_within_their_allowance(seed, norm):
    previous, current, flow = random_frames(seed, 12, 13)
    ball, labels = Ball(norm, 0.4), torch.randint(2, flow.shape[2:])
    pixels = manipulated_frames(previous, current, flow, torch.ones_like(flow[:, 0]), ball)
    remainders = PixelRemainders(pixels.signed, labels, 2)
    way, forms = Way(remainders, remainders.sizes), Forms(pixels.center, *normal(2, 1, 5, *current.shape[1:]).abs())
    layers = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 8, 3, stride=2), nn.ReLU())
    for step in steps_of(layers.double().requires_grad_(requires_grad=False)):
        forms, pull = step(forms, ball)
        way.take(pull)
    rows, traces = normal(6, *forms.center.shape[1:]), traced([None] * len(way.pulls))
    exact, single = (way.remainder(part, WHOLE, traces) for part in (rows, rows.float()))
    allowed = way.rounding(torch.float32) * (rows.abs() * way.sizes).flatten(1).sum(1)
    assert 0 < way.rounding(torch.float64) < 1e-9 < way.rounding(torch.float32) < 1e-4
    assert ((exact - single).abs().amax((0, 2)) <= allowed).all()


LAYERS = {
    "conv": lambda: nn.Conv2d(4, 6, 3, stride=2, padding=1, groups=2),
    "dilated": lambda: nn.Conv2d(4, 3, 3, dilation=2, bias=False),
    "batch_norm": lambda: nn.BatchNorm2d(4),
    "relu": nn.ReLU,
    "max_pool": lambda: nn.MaxPool2d(2),
    "padded_max_pool": lambda: nn.MaxPool2d(3, stride=2, padding=1),
    "avg_pool": lambda: nn.AvgPool2d(3, stride=2, padding=1),
    "adaptive": lambda: nn.AdaptiveAvgPool2d(3),
    "linear": lambda: nn.Sequential(nn.Flatten(), nn.Linear(4 * 6 * 5, 7), nn.BatchNorm1d(7), nn.Dropout()),
}


def random_layer(name):
    layer = LAYERS[name]().double().eval()
    for part in layer.modules():
        if isinstance(part, (nn.BatchNorm1d, nn.BatchNorm2d)):
            part.running_mean.normal_()
            part.running_var.uniform_(0.1, 2)
            part.weight.data.normal_()
    return layer.requires_grad_(requires_grad=False)


def random_forms():
    # Of a pooled window, some inputs are equal, as behind a ReLU.
    center = normal(1, 4, 6, 5).clamp(min=-0.5)
    slopes, error = 0.3 * normal(1, 7, 4, 6, 5), 0.2 * torch.rand(1, 7, 4, 6, 5, dtype=torch.float64)
    slopes[:, -1] = 0
    return Forms(center, slopes, error)


@pytest.mark.parametrize("name", list(LAYERS))
@given(SEEDS, NORMS, st.sampled_from([0.1, 1.0]))
@settings(max_examples=20, deadline=None)
def test_layers_enclose_samples_and_pull_rows_back(name, seed, norm, radius):
    torch.manual_seed(seed)
    layer, ball, forms = random_layer(name), Ball(norm, radius), random_forms()
    after, pulls = forms, []
    for step in steps_of(layer):
        after, pull = step(after, ball)
        pulls.append(pull)
    rows = normal(1, 3, *after.center.shape[1:])
    inputs, fresh, sizes = rows, torch.zeros(1, 3, 7), torch.rand_like(forms.center)
    for pull in pulls:
        sizes = pull.magnitude(sizes)
    assert sizes.shape == after.center.shape
    for pull in reversed(pulls):
        if pull.fresh is not None:
            fresh = fresh + (inputs.unsqueeze(2) * pull.fresh.unsqueeze(1)).flatten(3).abs().sum(3)
        inputs = pull.transpose(inputs)
    for _ in range(15):
        x = radius * in_ball(norm, 6)
        share = torch.cat([x.abs() / radius, torch.ones(1, dtype=torch.float64)]).view(1, -1)
        x = torch.cat([x, torch.zeros(1, dtype=torch.float64)])
        allowed = torch.einsum("nk,nk...->n...", share, forms.error)
        remainder = allowed * normal(*allowed.shape).sign()
        values = forms.center + torch.einsum("k,nk...->n...", x, forms.slopes) + remainder
        rest = layer(values) - after.center - torch.einsum("k,nk...->n...", x, after.slopes)
        assert (rest.abs() <= torch.einsum("nk,nk...->n...", share, after.error) + ROUNDING).all()
        assert ((layer(values) - after.center).abs() <= after.span(ball) + ROUNDING).all()
        # The same along rows: only the remainders of the input, with their signs, and the fresh ones are left.
        along = (rows * rest.unsqueeze(1)).flatten(2).sum(2) - (inputs * remainder.unsqueeze(1)).flatten(2).sum(2)
        assert (along.abs() <= (fresh * share).sum(-1) + ROUNDING).all()


STACKS = {
    "strided": ["conv", "relu", "conv"],
    "pooled": ["padded_max_pool", "batch_norm", "dilated"],
    "averaged": ["avg_pool", "relu", "max_pool"],
    "adaptive": ["conv", "adaptive", "relu"],
}


def random_stack(name):
    """Layers for maps of 4 channels, one after the other; each gives 4 channels again."""
    made = {
        "conv": lambda: nn.Conv2d(4, 4, (3, 2), stride=(2, 1), padding=1),
        "dilated": lambda: nn.Conv2d(4, 4, 2, dilation=(2, 1)),
    }
    layers = [made[layer]() if layer in made else LAYERS[layer]() for layer in STACKS[name]]
    return nn.Sequential(*layers).double().eval().requires_grad_(requires_grad=False)


@pytest.mark.parametrize("name", list(STACKS))
@given(SEEDS, st.integers(6, 17), st.integers(6, 17))
@settings(max_examples=15, deadline=None)
def test_one_pass_back_serves_all_neurons_of_a_lattice(name, seed, height, width):
    torch.manual_seed(seed)
    center = normal(1, 4, height, width)
    forms, pulls = Forms(center, normal(1, 3, *center.shape[1:]), normal(1, 3, *center.shape[1:]).abs()), []
    for step in steps_of(random_stack(name)):
        forms, pull = step(forms, Ball(Norm.L2, 0.3))
        pulls.append(pull)
    traces, size = traced([pull.windows for pull in pulls]), forms.center.shape[2:]
    seen = torch.zeros(size)
    for lattice in lattices(traces, tuple(size)):
        lattice.members(seen).add_(1)
        together = torch.zeros(1, 1, *forms.center.shape[1:], dtype=torch.float64)
        lattice.members(together)[:, :, 0] = 1
        places = lattice.members(torch.arange(seen.numel()).view(size)).flatten()
        alone = torch.zeros(1, len(places), *together.shape[2:], dtype=torch.float64)
        alone.flatten(3)[0, range(len(places)), 0, places] = 1
        for pull, windows in zip([*reversed(pulls), None], traces, strict=True):
            # Whatever is added up over a tile of the common pass is what is added up over all of the single one.
            weights = torch.rand(1, *together.shape[2:], dtype=torch.float64)
            common = lattice.tiles(together[0].abs(), windows) @ lattice.tiles(weights, windows).transpose(1, 2)
            single = (alone[0].abs() * weights).flatten(1).sum(1)
            assert together.dim() == MAPS + 1
            assert torch.allclose(common.flatten(), single, rtol=1e-9, atol=1e-12)
            if pull is not None:
                together, alone = pull.transpose(together), pull.transpose(alone)
    assert (seen == 1).all()


def random_form(count=5, flows=3, coordinates=4, features=2, symbols=3):
    return Form(
        2 * normal(count), normal(count, flows, coordinates), 0.3 * normal(count, flows, features),
        0.3 * normal(count, symbols), 0.3 * torch.rand(count, dtype=torch.float64),
    )  # fmt: skip


class Point:
    """Values of the unknowns that forms are made of, drawn from where they may be."""

    def __init__(self, ball, flows=3, coordinates=4, features=2, symbols=3):
        self.x = ball.radius * in_ball(ball.norm, flows * coordinates).view(flows, coordinates)
        share = size_of(self.x, ball.norm) / ball.radius
        self.tied = share[:, None] * normal(flows, features).clamp(-1, 1)
        self.symbols = normal(symbols).clamp(-1, 1)

    def of(self, form):
        """The form's value but for its fresh remainder."""
        known = form.symbols.shape[1]
        assert (form.symbols[:, len(self.symbols) :] == 0).all()
        return (
            form.center + (form.slopes * self.x).flatten(1).sum(1) + (form.tied * self.tied).flatten(1).sum(1)
            + form.symbols @ self.symbols[:known]
        )  # fmt: skip

    def with_fresh(self, form):
        return self.of(form) + form.fresh * normal(len(form.center)).clamp(-1, 1)


@given(SEEDS, NORMS, st.sampled_from([0.1, 1.0]))
@settings(max_examples=60, deadline=None)
def test_operations_on_forms_enclose_samples(seed, norm, radius):
    torch.manual_seed(seed)
    ball, weight = Ball(norm, radius), normal(4, 5)
    first, second = random_form(), random_form(symbols=1)
    known = first._replace(fresh=torch.zeros(5, dtype=torch.float64))
    smooth = relaxed(first, relax.tanh(*first.bounds(ball)))
    product, total, mapped = multiply(first, second, ball), add(first, second, -1.0), linear(known, weight, normal(4))
    for _ in range(30):
        point = Point(ball)
        a, b = point.with_fresh(first), point.with_fresh(second)
        low, high = first.bounds(ball)
        assert ((low <= a + ROUNDING) & (a <= high + ROUNDING)).all()
        assert ((torch.tanh(a) - point.of(smooth)).abs() <= smooth.fresh + ROUNDING).all()
        assert ((a * b - point.of(product)).abs() <= product.fresh + ROUNDING).all()
        assert ((a - b - point.of(total)).abs() <= total.fresh + ROUNDING).all()
        moved = weight @ (point.of(known) - known.center)
        assert ((moved - point.of(mapped) + mapped.center).abs() <= ROUNDING).all()
    # A product of two copies of the same deviation is a square: the remainder is half that of unrelated ones.
    plain = known._replace(center=torch.zeros_like(known.center))
    square = multiply(plain, plain, ball)
    assert (square.fresh <= plain.radius(ball) ** 2 / 2 + ROUNDING).all()


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_products_enclose_the_extremes_of_a_square(sign):
    ball = Ball(Norm.L2, 0.5)
    form = random_form()._replace(symbols=torch.zeros(5, 0).double(), fresh=torch.zeros(5).double())
    form = form._replace(slopes=torch.zeros_like(form.slopes), tied=torch.zeros_like(form.tied))
    form.slopes[:, 1, 2] = 3.0
    product = multiply(form, form._replace(slopes=sign * form.slopes), ball)
    for x in (-0.5, 0.0, 0.5):
        moved = product.center + product.slopes[:, 1, 2] * x
        true = (form.center + 3 * x) * (form.center + sign * 3 * x)
        assert ((true - moved).abs() <= product.fresh + ROUNDING).all()


def test_a_promoted_remainder_keeps_its_size_and_gets_a_number_of_its_own():
    torch.manual_seed(0)
    ball, form = Ball(Norm.L2, 0.5), random_form()
    kept = promote(form, 4)
    assert kept.symbols.shape == (5, 9)
    assert torch.equal(kept.symbols[:, 4:], torch.diag(form.fresh))
    assert torch.allclose(kept.radius(ball), form.radius(ball), rtol=1e-9)


def random_head(name, features=3):
    kind = {"lstm": FrameLstm, "gru": FrameGru, "mean": FrameMean}[name]
    made = type("Head", (kind,), {"encode": lambda self, frames: frames})
    head = made(features, 4) if name == "mean" else made(features, 5, 4)
    for parameter in head.double().requires_grad_(requires_grad=False).parameters():
        parameter.mul_(2)
    return head


@pytest.mark.parametrize("name", ["lstm", "gru", "mean"])
@given(SEEDS, NORMS, st.sampled_from([0.02, 0.2, 1.0]))
@settings(max_examples=25, deadline=None)
def test_heads_enclose_samples(name, seed, norm, radius):
    torch.manual_seed(seed)
    head, ball, first = random_head(name), Ball(norm, radius), normal(3)
    tied, free = 0.2 * normal(4, 3, 3), 0.05 * torch.rand(4, 3, dtype=torch.float64)
    forms = FeatureForms(normal(4, 3), normal(4, 2, 3), tied, free)
    state = last_state(head, first, forms, ball)
    logits = linear(state, head.dense.weight, head.dense.bias)
    low, high = logits.bounds(ball)
    for _ in range(20):
        x = radius * in_ball(norm, 4 * 2).view(4, 2)
        share = size_of(x, norm) / radius
        moved = forms.center + torch.einsum("tk,tkf->tf", x, forms.slopes) + free * normal(4, 3).sign()
        moved = moved + share[:, None] * torch.einsum("tfg,tg->tf", tied, normal(4, 3).sign())
        found = head.head(torch.cat([first[None], moved])[None])[0]
        assert ((low <= found + ROUNDING) & (found <= high + ROUNDING)).all()


def test_units_make_the_distance_a_plain_norm():
    sizes = torch.tensor([4.0, 9.0], dtype=torch.float64)
    x = torch.tensor([0.3, -0.7], dtype=torch.float64)
    for norm, distance in ((Norm.L1, 1.0), (Norm.L2, math.sqrt(0.58)), (Norm.LINF, 0.7)):
        moved = x * pixels_per_unit(sizes, norm)
        by_norm = {
            Norm.L1: (sizes * moved.abs()).sum(), Norm.L2: (sizes * moved**2).sum().sqrt(), Norm.LINF: moved.abs().max()
        }  # fmt: skip
        assert float(by_norm[norm]) == pytest.approx(distance)
