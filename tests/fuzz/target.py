"""Decides what an attempt is: one hostile input, whose like can be drawn again by its number, and what came of it."""

from __future__ import annotations

import contextlib
import time
from collections import Counter
from dataclasses import dataclass, field
from random import Random
from typing import Protocol

from common.errors import FlowcertError
from common.printable import is_printable

#: Seconds of this process's time that no attempt may take: games are counted for half a minute at most, and decoders
#: have limits of their own. What waits for ever instead is met by the limit of the test.
SLOW = 60.0


class Target(Protocol):
    """Something that takes input from elsewhere; entered before the first attempt."""

    name: str

    def attempt(self, rng: Random) -> list[tuple[str, str]]:
        """Try an input, or a few; returns the kind of each, and ``accepted``, ``refused`` or ``stopped``.

        Raises whatever an input provoked that is no refusal: that is a finding.
        """
        ...


@dataclass
class Tried:
    """What became of a target's attempts."""

    kinds: Counter[str] = field(default_factory=Counter)
    outcomes: Counter[str] = field(default_factory=Counter)
    slowest: float = 0.0  #: seconds of this process's time
    slowest_case: int = 0
    findings: list[dict[str, object]] = field(default_factory=list)

    @property
    def attempts(self) -> int:
        """How many there were."""
        return sum(self.outcomes.values())


def rng_of(seed: int, target: str, case: int) -> Random:
    """What a case draws from."""
    return Random(f"{seed}:{target}:{case}")


def try_case(target: Target, seed: int, case: int, tried: Tried) -> None:
    """Make one attempt and note what came of it."""
    begun, ends = time.process_time(), [("unknown", "broken")]
    try:
        ends = target.attempt(rng_of(seed, target.name, case))
    except Exception as error:  # noqa: BLE001 - whatever it is, it is the finding.
        tried.findings.append({"case": case, "seed": seed, "error": f"{type(error).__name__}: {error}"[:2000]})
    took = time.process_time() - begun
    tried.kinds.update(kind for kind, _ in ends)
    tried.outcomes.update(outcome for _, outcome in ends)
    if took > SLOW:
        tried.findings.append({"case": case, "seed": seed, "error": f"took {took:.0f} s"})
    if took > tried.slowest:
        tried.slowest, tried.slowest_case = took, case


def check_refusal(error: FlowcertError, names: str | None = None) -> None:
    """A refusal is one line that can be shown, is not endless, and names the input."""
    text = str(error)
    assert "\n" not in text, f"a refusal of several lines: {text[:200]!r}"
    assert len(text) < 20_000, f"a refusal of {len(text)} characters"
    if names is not None:
        assert names in text, f"{names} is not named: {text[:300]!r}"


def check_shown(text: str) -> None:
    """What is shown acts on nothing."""
    for line in text.splitlines():
        assert is_printable(line.replace("\t", " ")), f"unprintable: {line[:200]!r}"


class Plain(contextlib.AbstractContextManager["Plain"]):
    """A target that needs nothing to be set up."""

    def __exit__(self, *_: object) -> None:
        return
