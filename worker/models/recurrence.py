"""Takes recurrent heads apart, so that a sequence can be advanced one frame at a time from any kept state.

Each class computes what the module it is made from computes, with the input side of the frame (``project``) separated
from the step (``advance``): projections of a frame are shared by all points that have it, steps are not.
"""

from __future__ import annotations

from typing import Protocol, final, runtime_checkable

import torch
from torch import Tensor, nn

from common.errors import NumericalError
from worker.models.lstm_kernel import lstm_advance, lstm_branch

#: Magnitude from which sums of a step could overflow float32, and the kernel's assumption of finite numbers fail.
_GREATEST = 1e30


class Recurrence(Protocol):
    """A head that consumes projected frames one by one; states are rows of ``S`` numbers."""

    start: Tensor  #: state before the first frame, ``[S]``

    def project(self, features: Tensor) -> Tensor:
        """Input projections ``[N, I]`` of frame features ``[N, F]``: all of the frame's part of a step."""
        ...

    def advance(self, states: Tensor, inputs: Tensor) -> None:
        """Advance states ``[B, S]`` in place by one frame each, with projections ``[B, I]``, or ``[I]`` for all."""
        ...

    def branch(self, states: Tensor, origin: Tensor, inputs: Tensor, frame: Tensor, after: Tensor) -> None:
        """Write to ``after`` ``[B, S]`` the states after one frame each, from few states.

        Row ``b`` is number ``origin[b]`` of ``states`` ``[P, S]``, advanced by number ``frame[b]`` of projections
        ``inputs`` ``[V, I]``. What a step takes from its state alone is computed once for each of the ``P``.
        """
        ...

    def finish(self, states: Tensor) -> Tensor:
        """Logits ``[B, C]`` of the states ``[B, S]`` after the last frame."""
        ...


@runtime_checkable
class Factorised(Protocol):
    """A classifier whose frames are encoded independently and consumed in order: what factorised evaluation needs.

    ``encode`` must not mix the frames of a batch. Its own ``forward`` must equal encode, project, advance, finish.
    """

    def encode(self, frames: Tensor) -> Tensor:
        """Features ``[N, F]`` of frames ``[N, 3, H, W]``."""
        ...

    def recurrence(self) -> Recurrence:
        """The head, taken apart."""
        ...


@final
class LstmRecurrence:
    """A one-layer LSTM and a dense layer; the state is ``(h, c)`` side by side."""

    def __init__(self, lstm: nn.LSTM, dense: nn.Linear) -> None:
        self._hidden = lstm.hidden_size
        input_bias, recurrent_bias = _tensor(lstm.bias_ih_l0), _tensor(lstm.bias_hh_l0)
        # One function serves all gates, since tanh(x) = 2σ(2x) - 1; doubling the cell gate's rows is exact.
        scale = input_bias.new_tensor([1.0, 1.0, 2.0, 1.0]).repeat_interleave(self._hidden)

        def gates(parameter: Tensor) -> Tensor:
            return parameter.detach() * (scale if parameter.dim() == 1 else scale[:, None])

        self._input = gates(_tensor(lstm.weight_ih_l0))
        self._recurrent = gates(_tensor(lstm.weight_hh_l0)).t().contiguous()
        self._bias = gates(input_bias) + gates(recurrent_bias)
        if not bool((self._recurrent.abs() < _GREATEST).all()):
            raise NumericalError("the LSTM's recurrent weights are NaN, infinite or enormous")
        self._gates = self._bias.new_empty((0, 4 * self._hidden))
        self._on_cpu = self._bias.device.type == "cpu" and self._bias.dtype is torch.float32
        self._dense = dense
        self.start = torch.zeros(2 * self._hidden, dtype=self._bias.dtype, device=self._bias.device)

    def project(self, features: Tensor) -> Tensor:
        """Gate pre-activations ``[N, 4H]`` without the recurrent part; raises NumericalError beyond any sane size."""
        inputs = torch.addmm(self._bias, features, self._input.t())
        # States stay within ±T and the recurrent weights were checked, so no step can give NaN when these are finite.
        if not bool((inputs.abs() < _GREATEST).all()):
            raise NumericalError("the model gave NaN, infinite or enormous features for a manipulated frame")
        return inputs

    def advance(self, states: Tensor, inputs: Tensor) -> None:
        """One LSTM step, in place."""
        size = self._hidden
        if len(states) > len(self._gates):
            # Kept from step to step: fresh pages for every step cost as much as the gates themselves.
            self._gates = states.new_empty((len(states), 4 * size))
        gates = self._gates[: len(states)]
        if self._on_cpu:
            torch.mm(states[:, :size], self._recurrent, out=gates)
            lstm_advance(gates.numpy(), inputs.numpy(), states.numpy())
        else:
            self._step(torch.addmm(inputs, states[:, :size], self._recurrent, out=gates), states)

    def branch(self, states: Tensor, origin: Tensor, inputs: Tensor, frame: Tensor, after: Tensor) -> None:
        """One LSTM step whose recurrent products are shared."""
        products = torch.mm(states[:, : self._hidden], self._recurrent)
        if self._on_cpu:
            lstm_branch(products.numpy(), states.numpy(), origin.numpy(), inputs.numpy(), frame.numpy(), after.numpy())
        else:
            torch.index_select(states, 0, origin, out=after)
            self._step(products[origin].add_(inputs[frame]), after)

    def _step(self, gates: Tensor, states: Tensor) -> None:
        """Advance states in place by pre-activations, which are used up."""
        size = self._hidden
        gates.sigmoid_()
        enter, forget, new, leave = (gates[:, gate * size : (gate + 1) * size] for gate in range(4))
        cell = states[:, size:]
        # c ← f·c + i·(2s - 1) and h ← o·(2σ(2c) - 1), in place.
        cell.mul_(forget).addcmul_(enter, new, value=2.0).sub_(enter)
        torch.mul(torch.mul(cell, 2.0).sigmoid_().mul_(2.0).sub_(1.0), leave, out=states[:, :size])

    def finish(self, states: Tensor) -> Tensor:
        """Logits of the last hidden state."""
        logits: Tensor = self._dense(states[:, : self._hidden])
        return logits


@final
class GruRecurrence:
    """A one-layer GRU and a dense layer; the state is ``h``."""

    def __init__(self, gru: nn.GRU, dense: nn.Linear) -> None:
        self._hidden = gru.hidden_size
        self._input = _tensor(gru.weight_ih_l0).detach()
        self._input_bias = _tensor(gru.bias_ih_l0).detach()
        self._recurrent = _tensor(gru.weight_hh_l0).detach().t().contiguous()
        self._recurrent_bias = _tensor(gru.bias_hh_l0).detach()
        self._dense = dense
        self.start = torch.zeros(self._hidden, dtype=self._input.dtype, device=self._input.device)

    def project(self, features: Tensor) -> Tensor:
        """Reset, update and candidate pre-activations ``[N, 3H]`` without the recurrent part."""
        return torch.addmm(self._input_bias, features, self._input.t())

    def advance(self, states: Tensor, inputs: Tensor) -> None:
        """One GRU step, in place: ``h ← (1 - z)·tanh(x_n + r·h_n) + z·h``."""
        size = self._hidden
        recurrent = torch.addmm(self._recurrent_bias, states, self._recurrent)
        gates = (recurrent[:, : 2 * size] + inputs[..., : 2 * size]).sigmoid_()
        candidate = (gates[:, :size] * recurrent[:, 2 * size :] + inputs[..., 2 * size :]).tanh_()
        states.sub_(candidate).mul_(gates[:, size:]).add_(candidate)

    def branch(self, states: Tensor, origin: Tensor, inputs: Tensor, frame: Tensor, after: Tensor) -> None:
        """One GRU step each, in copies of the states."""
        self.advance(torch.index_select(states, 0, origin, out=after), inputs[frame])

    def finish(self, states: Tensor) -> Tensor:
        """Logits of the last hidden state."""
        logits: Tensor = self._dense(states)
        return logits


@final
class MeanRecurrence:
    """The mean of the frames' features and a dense layer; the state is their sum and, last, their number."""

    def __init__(self, dense: nn.Linear) -> None:
        self._dense = dense
        self.start = torch.zeros(dense.in_features + 1, dtype=dense.weight.dtype, device=dense.weight.device)

    def project(self, features: Tensor) -> Tensor:
        """Features with a one at their end, ``[N, F + 1]``."""
        return nn.functional.pad(features, (0, 1), value=1.0)

    def advance(self, states: Tensor, inputs: Tensor) -> None:
        """Add the frame."""
        states.add_(inputs)

    def branch(self, states: Tensor, origin: Tensor, inputs: Tensor, frame: Tensor, after: Tensor) -> None:
        """Add a frame each to copies of the sums."""
        self.advance(torch.index_select(states, 0, origin, out=after), inputs[frame])

    def finish(self, states: Tensor) -> Tensor:
        """Logits of the mean."""
        logits: Tensor = self._dense(states[:, :-1] / states[:, -1:])
        return logits


def _tensor(parameter: Tensor | nn.Module) -> Tensor:
    """A recurrent layer's parameter, whose type torch does not declare."""
    if not isinstance(parameter, Tensor):
        raise TypeError(f"expected a parameter, got {type(parameter).__name__}")
    return parameter
