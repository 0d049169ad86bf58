"""Frames a pause apart, against their definition in exact fractions; no video is so long that a time drifts."""

from decimal import Decimal
from fractions import Fraction
from itertools import accumulate, count, islice, pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.video.refused import RefusedError
from worker.video.timing import at_pauses, seconds

MICRO = Fraction(1, 1_000_000)


def chosen(times, every, frames=None):
    return list(islice(at_pauses(zip(count(), times, strict=False), every), frames))


@given(
    start=st.integers(-(10**9), 10**9),
    gaps=st.lists(st.integers(1_000, 200_000), max_size=30),
    every=st.integers(10_000, 500_000),
)
def test_each_frame_is_the_first_at_or_after_its_time_and_none_is_taken_twice(start, gaps, every):
    since = list(accumulate(gaps, initial=0))
    times = [(start + time) * MICRO for time in since]
    # By the definition, in whole microseconds: for each multiple of the pause up to the last frame's time.
    firsts = [next(k for k, time in enumerate(since) if time >= at) for at in range(0, since[-1] + 1, every)]
    seconds_apart = Decimal(every).scaleb(-6)
    if len(set(firsts)) == len(firsts):
        assert chosen(times, seconds_apart) == firsts
        return
    with pytest.raises(RefusedError, match=r"has no frame from .* where --every .* needs one"):
        chosen(times, seconds_apart)
    good = next(i for i in range(1, len(firsts)) if firsts[i] == firsts[i - 1]) - 1
    assert chosen(times, seconds_apart, good) == firsts[:good]


@given(
    rate=st.sampled_from([Fraction(n) for n in (8, 10, 12, 24, 25, 30, 48, 50, 60, 120)]),
    whole=st.integers(1, 7200),
    every=st.integers(1, 20),
)
def test_at_a_whole_rate_whole_seconds_are_a_stride_at_any_length(rate, whole, every):
    # As OpenCV computes them: the frame's number times a rounded unit of time, times a thousand.
    unit = float(1 / rate)
    stride = every * rate
    frames = [number for i in range(whole, whole + 3) for number in (i * stride - 1, i * stride)]
    times = [seconds(float(number) * unit * 1000) for number in (0, *frames)]
    since = [time - times[0] for time in times[1:]]
    for i, (before, at) in enumerate(zip(since[::2], since[1::2], strict=True), start=whole):
        assert before < i * every <= at
    assert chosen([seconds(k * unit * 1000) for k in range(3 * int(stride) + 1)], Decimal(every)) == [
        i * stride for i in range(4)
    ]


@given(milliseconds=st.integers(0, 10**10), error=st.floats(-1e-6, 1e-6))
def test_a_time_in_whole_microseconds_survives_as_a_float(milliseconds, error):
    assert seconds(milliseconds / 1000 + error / 1000) == Fraction(milliseconds, 1_000_000)


@given(
    times=st.lists(st.integers(0, 3000), min_size=2, max_size=20).map(lambda each: [n * MICRO for n in each]),
    every=st.just(Decimal(1)),
)
def test_times_that_do_not_rise_by_a_millisecond_are_refused(times, every):
    rises = all(later - earlier >= Fraction(1, 1000) for earlier, later in pairwise(times))
    if rises:
        assert chosen(times, every) == [0]
        return
    with pytest.raises(RefusedError, match=r"has no usable timestamps, which --every needs: frame \d+ is at"):
        chosen(times, every)
