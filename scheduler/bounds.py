"""Decides how bounds merge: two reports on the same points refine each other.

That is order-free and idempotent, so duplicated, late and reordered results change nothing. Costs are integers;
``upper`` None means that no witness is known.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Bounds:
    """Bounds of a subtree's least adversarial cost: none costs less than ``lower``, one costs ``upper``."""

    lower: int
    upper: int | None = None

    @property
    def crossed(self) -> bool:
        """Whether the bounds contradict each other, which proves that one of them is wrong."""
        return self.upper is not None and self.lower > self.upper


def least(first: int | None, second: int | None) -> int | None:
    """Return the smaller of two costs, where None stands for infinity."""
    if first is None or second is None:
        return second if first is None else first
    return min(first, second)


def refine(first: Bounds, second: Bounds) -> Bounds:
    """Join two reports on the same points: both are true, so the tighter side of each holds."""
    return Bounds(max(first.lower, second.lower), least(first.upper, second.upper))
