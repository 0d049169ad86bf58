"""Decides which frames of a video are a pause apart: by the presentation timestamp of each frame, and by nothing else.

Of what OpenCV says of time, only ``CAP_PROP_POS_MSEC`` can be relied on. It is each frame's own timestamp, so it shows
where a rate varies and where frames were dropped, as in 15 of 274 clips of UCF101, whose timestamps still end where
the container says. (AVI files have times of decoding only; with B-frames all of them are late by the same few frames,
and the last frames have none.) ``CAP_PROP_FPS`` is one number for the whole video, and partly FFmpeg's guess: it was
1000 for an AVI file that counts milliseconds and 25 for a transport stream of 12.5 frames a second, both with right
timestamps. So a frame rate is never used, not even where timestamps are missing: such a video is refused.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from decimal import Decimal
from fractions import Fraction
from typing import Final, TypeVar

from worker.video.refused import RefusedError

T = TypeVar("T")

# A timestamp that is missing reads as 0 and one that OpenCV cannot tell from the last as the same; more than a
# thousand frames a second are a header's mistake.
_LEAST_GAP: Final = Fraction(1, 1000)


def seconds(milliseconds: float) -> Fraction:
    """Give OpenCV's timestamp in seconds, exact to the microsecond; raise RefusedError for NaN and infinity.

    Containers hold multiples of a fraction, which a float only comes near: without rounding, the frame at one second
    could lie just before it.
    """
    if not math.isfinite(milliseconds):
        raise RefusedError(f"has a timestamp of {milliseconds} ms, but --every needs one of each frame")
    return Fraction(round(milliseconds * 1000), 1_000_000)


def at_pauses(frames: Iterable[tuple[T, Fraction]], every: Decimal) -> Iterator[T]:
    """Give frames that are ``every`` seconds apart: number ``i`` is the first at or after ``i * every`` seconds.

    ``frames`` come in the video's order with their times in seconds, which count from the first one's. No more of them
    are taken than is needed for what is asked for, and none is given twice.

    Raises RefusedError when a time is not at least a millisecond after the one before, or when no frame lies in
    ``[i * every, (i + 1) * every)``.
    """
    pause, given = Fraction(every), 0
    start = before = None
    for number, (frame, time) in enumerate(frames):
        if start is None or before is None:
            start = time
        elif time - before < _LEAST_GAP:
            raise RefusedError(
                f"has no usable timestamps, which --every needs: frame {number} is at {float(time):g} s,"
                f" the one before at {float(before):g} s"
            )
        before = time
        if time - start >= given * pause:
            if time - start >= (given + 1) * pause:
                raise RefusedError(
                    f"has no frame from {given * every:f} s to {(given + 1) * every:f} s, where --every {every:f}"
                    " needs one"
                )
            given += 1
            yield frame
