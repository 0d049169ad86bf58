"""Decides what the logits can be when the features are affine forms: LSTM, GRU and mean, step by step.

All nonlinear functions and products of a step are relaxed around the forms' centers. What a step's remainders do to
one element of the state they do to it alone, so they leave one fresh symbol an element of each state vector, whose sign
is kept through all later steps.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from common.errors import InputError
from worker.certify import relax
from worker.certify.ball import Ball
from worker.certify.encoder import FeatureForms
from worker.certify.forms import Form, add, constant, linear, multiply, promote, relaxed
from worker.models.frame_model import FrameGru, FrameLstm, FrameMean


def unsupported_head(module: nn.Module) -> str | None:
    """Say why the head is not supported, as words for the user; None when it is."""
    if not isinstance(module, (FrameLstm, FrameGru, FrameMean)):
        return type(module).__name__
    recurrent = module.lstm if isinstance(module, FrameLstm) else module.gru if isinstance(module, FrameGru) else None
    if recurrent is None:
        return None
    name = type(recurrent).__name__
    if recurrent.num_layers != 1 or recurrent.bidirectional or not recurrent.bias or recurrent.proj_size:
        return f"{name} of more than one layer or direction, without bias or with projections"
    return None


def last_state(module: nn.Module, first: Tensor, features: FeatureForms, ball: Ball) -> Form:
    """Enclose what the dense layer is given; no fresh remainder is left.

    ``first`` ``[F]`` are the features of the first frame. Raises InputError for a head that is not supported.
    """
    frames = _Frames(first, features)
    if isinstance(module, FrameLstm):
        return _lstm(module.lstm, frames, ball)
    if isinstance(module, FrameGru):
        return _gru(module.gru, frames, ball)
    if isinstance(module, FrameMean):
        return _mean(frames)
    raise InputError("model", f"{type(module).__name__} is not supported by continuous certificates")


class _Frames:
    """Hands out linear maps of the frames' features."""

    def __init__(self, first: Tensor, features: FeatureForms) -> None:
        self.first, self._features = first, features

    def __len__(self) -> int:
        return 1 + len(self._features.center)

    def constant(self, values: Tensor) -> Form:
        """A form of numbers ``[n]`` that are known."""
        flows, coordinates, features = self._features.slopes.shape
        return constant(values, flows, coordinates, features)

    def mapped(self, t: int, weight: Tensor, bias: Tensor | None) -> Form:
        """``weight @ features(t) + bias``."""
        if t == 0:
            return linear(self.constant(self.first), weight, bias)
        center, slopes, tied, free = (part[t - 1] for part in self._features)
        form = self.constant(center)
        form.slopes[:, t - 1] = slopes.t()
        form.tied[:, t - 1] = tied
        mapped = linear(form, weight, bias)
        # What takes no share of the radius is small, so its signs are not kept.
        return mapped._replace(fresh=mapped.fresh + weight.abs() @ free)


def _lstm(lstm: nn.LSTM, frames: _Frames, ball: Ball) -> Form:
    size = lstm.hidden_size
    weight, recurrent, input_bias, recurrent_bias = _parameters(lstm)
    bias = input_bias + recurrent_bias
    state = cell = frames.constant(weight.new_zeros(size))
    for t in range(len(frames)):
        gates = add(frames.mapped(t, weight, bias), linear(state, recurrent))
        enter, forget, new, leave = (gates.rows(gate * size, (gate + 1) * size) for gate in range(4))
        kept = multiply(relaxed(forget, relax.sigmoid(*forget.bounds(ball))), cell, ball)
        cell = promote(add(kept, _gated(enter, new, ball)), gates.symbols.shape[1])
        state = promote(_gated(leave, cell, ball), cell.symbols.shape[1])
    return state


def _parameters(layer: nn.RNNBase) -> list[Tensor]:
    """Weights of inputs and state, then biases of inputs and state."""
    names = ("weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0")
    return [layer.get_parameter(name).detach() for name in names]


def _gated(gate: Form, value: Form, ball: Ball) -> Form:
    """``sigmoid(gate) * tanh(value)``."""
    opened = relaxed(gate, relax.sigmoid(*gate.bounds(ball)))
    return multiply(opened, relaxed(value, relax.tanh(*value.bounds(ball))), ball)


def _gru(gru: nn.GRU, frames: _Frames, ball: Ball) -> Form:
    """Steps ``h = n + z (h - n)`` with ``n = tanh(x_n + r h_n)``."""
    size = gru.hidden_size
    weight, recurrent, bias, recurrent_bias = _parameters(gru)
    state = frames.constant(weight.new_zeros(size))
    for t in range(len(frames)):
        inputs, hidden = frames.mapped(t, weight, bias), linear(state, recurrent, recurrent_bias)
        gates = add(inputs.rows(0, 2 * size), hidden.rows(0, 2 * size))
        gates = relaxed(gates, relax.sigmoid(*gates.bounds(ball)))
        reset, keep = gates.rows(0, size), gates.rows(size, 2 * size)
        new = add(inputs.rows(2 * size, 3 * size), multiply(reset, hidden.rows(2 * size, 3 * size), ball))
        # The candidate is used twice below: as symbols, its remainders cancel there.
        new = promote(relaxed(new, relax.tanh(*new.bounds(ball))), state.symbols.shape[1])
        state = add(new, multiply(keep, add(state, new, -1.0), ball))
        state = promote(state, new.symbols.shape[1])
    return state


def _mean(frames: _Frames) -> Form:
    share = torch.eye(len(frames.first), dtype=frames.first.dtype, device=frames.first.device) / len(frames)
    total = frames.constant(torch.zeros_like(frames.first))
    for t in range(len(frames)):
        total = add(total, frames.mapped(t, share, None))
    return promote(total, total.symbols.shape[1])
