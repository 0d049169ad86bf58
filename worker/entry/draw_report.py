"""Draws the pictures of a report's clips: JSON lines in, one JSON line out for each, in order.

The scheduler has neither torch nor cv2; ``flowcert report`` runs ``python -m worker.entry.draw_report``. What the model
says is in the database; only ``saliency`` partitions need it again.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from common.errors import FlowcertError
from common.features import PartitionKind
from common.settings import Settings
from worker.clip import Influence, PreparedClip, load_or_prepare
from worker.entry.questions import PictureQuestion
from worker.numerics import configure_numerics
from worker.picture import Outcome, Scene, draw_change, draw_clip
from worker.saliency import influence_of

Answer = dict[str, Any]


class Question(PictureQuestion):
    """A clip with what the model says of it; its folder is empty."""

    before: Outcome
    after: Outcome | None  #: None where there is no witness


def answer(question: Question, settings: Settings) -> Answer:
    """Draw one clip; ``problem`` says why there are no pictures of it, and is None when there are."""
    forbidden = question.forbidden(settings)
    if forbidden is not None:
        return {"problem": forbidden}
    try:
        clip = _clip(question, settings)
        drawn = draw_clip(clip, question.out)
        if question.after is not None:
            change = question.change()
            scene = Scene(question.video, question.label, question.spec, clip, change, question.before, question.after)
            found = draw_change(scene, question.out)
            drawn = {**drawn, **found, "sprites": {**drawn["sprites"], **found["sprites"]}}
    except FlowcertError as error:
        return {"problem": str(error)}
    return {"problem": None, **drawn}


def _clip(question: Question, settings: Settings) -> PreparedClip:
    """The clip as it was certified, from the cache or the video; raises FlowcertError where neither gives it."""
    spec = question.spec
    return load_or_prepare(
        question.video, spec.sampling, spec.flow, spec.partition, settings.max_clip_bytes, settings.cache_dir,
        question.digest, _influence(question),
    )  # fmt: skip


def _influence(question: Question) -> Influence | None:
    if question.spec.partition.kind is not PartitionKind.SALIENCY:
        return None
    return influence_of(question.spec, question.label, question.module())


def _answers(lines: Iterable[str], settings: Settings) -> Iterator[Answer]:
    """Answers in order; a few clips are drawn at a time, since decoding waits for a process of its own."""
    at_once = os.cpu_count() or 1
    waiting: deque[Future[Answer]] = deque()
    with ThreadPoolExecutor(at_once) as pool:
        for line in lines:
            waiting.append(pool.submit(answer, Question.model_validate_json(line), settings))
            if len(waiting) > at_once:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def main() -> int:
    """Answer each line of standard input on standard output; always 0, for a clip without pictures is an answer."""
    configure_numerics(threads=1)
    said = sys.stdout
    # A user's factory may print; the answers must stay the only lines on standard output.
    with contextlib.redirect_stdout(sys.stderr):
        for found in _answers(sys.stdin, Settings()):
            said.write(json.dumps(found, allow_nan=False) + "\n")
            said.flush()
    return 0


if __name__ == "__main__":
    sys.exit(main())
