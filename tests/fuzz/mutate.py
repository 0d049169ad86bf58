"""Draws hostile bytes and text: small harm to good input, and values that programs forget."""

from __future__ import annotations

import struct
from random import Random

NUMBERS = (0, 1, 2, 7, 127, 128, 255, 32767, 32768, 65535, 65536, 2**31 - 1, 2**31, 2**32 - 1)
#: What acts on a terminal, a page, a path, a format or a parser.
ODD = (
    "\0", "\n", "\r", "\t", "\x1b[31m", "\x1b]0;title\x07", "\x9b2J", "\u202eiva.", "\u2066", "\u2028", "\udcff",
    "\x7f", "</script>", "<img src=x onerror=alert(1)>", "&lt;", "[red]", "[/]", "{{7*7}}", "%s%n", "%03d", "!",
    "..", "/", "~",
    "~nobody/", '"', '"""', ",", ";", "'", "\\", "\ufeff", "é", "e\u0301", "漢字", "\U0001f600", "\u200d",
    "\u00a0", " " * 9,
    "1" * 5000, "x" * 5000, "-0", "1e999", "nan", "inf", "0x" + "f" * 5000, "٣", "²",
)  # fmt: skip


def mutate(data: bytes, rng: Random, most: int = 2**22) -> bytes:
    """Harm bytes in one to six places; at most ``most`` bytes come out."""
    for _ in range(rng.randint(1, 6)):
        data = rng.choice(_WAYS)(data, rng)[:most]
    return data


def overwrite(data: bytes, place: int, rng: Random, order: str) -> bytes:
    """Overwrite four bytes by a number that is easily forgotten; ``order`` is ``<`` or ``>``."""
    return data[:place] + struct.pack(f"{order}I", rng.choice(NUMBERS)) + data[place + 4 :]


def odd_text(rng: Random, base: str = "clip") -> str:
    """Text with one to three odd parts in it."""
    for _ in range(rng.randint(1, 3)):
        place = rng.randint(0, len(base))
        base = base[:place] + rng.choice(ODD) + base[place:]
    return base


def odd_value(rng: Random, depth: int = 0) -> object:
    """A JSON value, of any kind and size."""
    kind = rng.randrange(12 if depth < 3 else 8)
    if kind < 8:
        return (
            None, True, rng.choice(NUMBERS), -rng.choice(NUMBERS), 10 ** rng.choice((30, 400, 4000)),
            rng.choice((0.5, -1e308, 1e-320, 2.0**63)), odd_text(rng), "",
        )[kind]  # fmt: skip
    if kind < 10:
        return [odd_value(rng, depth + 1) for _ in range(rng.choice((0, 1, 2, 40)))]
    if kind == 10:
        return {odd_text(rng): odd_value(rng, depth + 1) for _ in range(rng.choice((0, 1, 3)))}
    nested: object = 1
    for _ in range(rng.choice((50, 900))):
        nested = [nested]
    return nested


def harm(value: object, rng: Random) -> object:
    """A JSON value with one part of it replaced, left out, doubled or put elsewhere."""
    if isinstance(value, dict) and value and rng.random() < 0.8:
        key = rng.choice(list(value))
        rest = {name: part for name, part in value.items() if name != key}
        way = rng.randrange(6)
        if way == 0:
            return rest
        if way == 1:
            return {**value, odd_text(rng, "more"): odd_value(rng)}
        return {**value, key: harm(value[key], rng)}
    if isinstance(value, list) and value and rng.random() < 0.8:
        place = rng.randrange(len(value))
        way = rng.randrange(5)
        if way == 0:
            return value[:place] + value[place + 1 :]
        if way == 1:
            return value * rng.choice((2, 100, 2000))
        return [*value[:place], harm(value[place], rng), *value[place + 1 :]]
    return odd_value(rng)


def _flip(data: bytes, rng: Random) -> bytes:
    harmed = bytearray(data)
    for _ in range(rng.choice((1, 1, 4, 64))):
        if harmed:
            harmed[rng.randrange(len(harmed))] ^= 1 << rng.randrange(8)
    return bytes(harmed)


def _number(data: bytes, rng: Random) -> bytes:
    return overwrite(data, rng.randint(0, max(0, len(data) - 4)), rng, rng.choice("<>"))


def _cut(data: bytes, rng: Random) -> bytes:
    return data[: rng.randint(0, len(data))]


def _leave_out(data: bytes, rng: Random) -> bytes:
    start = rng.randint(0, len(data))
    return data[:start] + data[start + rng.choice((1, 4, 100, 5000)) :]


def _insert(data: bytes, rng: Random) -> bytes:
    place = rng.randint(0, len(data))
    new = rng.choice((rng.randbytes(rng.choice((1, 8, 500))), rng.choice(ODD).encode(errors="surrogateescape")))
    return data[:place] + new + data[place:]


def _repeat(data: bytes, rng: Random) -> bytes:
    start = rng.randint(0, len(data))
    part = data[start : start + rng.choice((4, 64, 4096))]
    return data[:start] + part * rng.choice((2, 50)) + data[start:]


def _swap(data: bytes, rng: Random) -> bytes:
    first, second = sorted((rng.randint(0, len(data)), rng.randint(0, len(data))))
    return data[second:] + data[first:second] + data[:first]


_WAYS = (_flip, _flip, _flip, _number, _number, _cut, _leave_out, _insert, _repeat, _swap)
