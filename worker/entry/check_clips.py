"""Decides, before a job exists, whether clips can be read: their paths in, frames and content hashes out, line by line.

The scheduler has no OpenCV; it runs ``python -m worker.entry.check_clips``. Each line of standard input is answered by
one line of standard output. A clip that crashes the decoder, or takes too long, ends this process: whoever asked knows
which clip it was, and starts another.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import signal
import sys
import time
from decimal import Decimal
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from common.errors import ClipError
from common.printable import visible
from worker.video.decoder import FFMPEG_OPTIONS, count_frames, count_pauses, set_limits
from worker.video.refused import RefusedError
from worker.video.runner import WALL_SECONDS, check_file


class _Question(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    path: Path
    max_bytes: int
    frames: int  #: that a job needs
    every: Decimal | None  #: seconds between them; None for any frames


def check(question: _Question) -> dict[str, Any]:
    """Count a clip's frames and hash its bytes, or say what is wrong with it, in the words that a job would use.

    Where frames are to be a pause apart, only such are counted, and no more than are needed.
    """
    path = question.path
    found: dict[str, Any] = {"frames": 0, "sha256": None, "problem": None}
    try:
        check_file(path)
        with path.open("rb") as file:
            found["sha256"] = hashlib.file_digest(file, "sha256").hexdigest()
        found["frames"] = (
            count_frames(path, question.max_bytes)
            if question.every is None
            else count_pauses(path, question.max_bytes, question.frames, question.every)
        )
    except ClipError as error:
        found["problem"] = error.problem
    except RefusedError as refusal:
        found["problem"] = str(refusal)
    except OSError as error:
        found["problem"] = f"cannot be read: {error.strerror}"
    except MemoryError:
        found["problem"] = "needs more memory to decode than it is allowed"
    except Exception as error:  # noqa: BLE001 - OpenCV raises errors of its own, which are known once it is loaded.
        found["problem"] = f"the decoder failed: {visible(' '.join(str(error).split()) or type(error).__name__)[:500]}"
    return found


def main() -> int:
    """Answer each line of standard input on standard output, each within the limits that a job's decoder has."""
    os.environ.update(
        OPENCV_FFMPEG_CAPTURE_OPTIONS=FFMPEG_OPTIONS, OPENCV_LOG_LEVEL="SILENT", OPENCV_FFMPEG_LOGLEVEL="-8"
    )
    # Kept at its default, the alarm ends the process even while it is inside the decoder.
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    for line in sys.stdin:
        question = _Question.model_validate_json(line)
        set_limits(question.max_bytes, math.ceil(time.process_time()))
        signal.alarm(math.ceil(WALL_SECONDS))
        answer = check(question)
        signal.alarm(0)
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()
    return 0


if __name__ == "__main__":
    sys.exit(main())
