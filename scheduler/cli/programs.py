"""Decides how a worker's program is asked, for only workers have torch and cv2: JSON lines in, JSON lines out."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Generator, Mapping, Sequence
from typing import Any

from common.errors import ServerError


def answers(
    program: str, questions: Sequence[Mapping[str, Any]], environment: Mapping[str, str]
) -> Generator[dict[str, Any]]:
    """Run ``python -m program`` and give its answers, one a question, in order; it ends when this is left.

    ``environment`` is what workers on the same servers are given: it says what the program may read and import.

    Raises ServerError when it ends before its last answer.
    """
    if not questions:
        return
    with tempfile.TemporaryFile("w+") as asked, tempfile.TemporaryFile("w+") as said:
        asked.writelines(json.dumps(question) + "\n" for question in questions)
        asked.seek(0)
        command = [sys.executable, "-P", "-m", program]
        with subprocess.Popen(
            command, stdin=asked, stdout=subprocess.PIPE, stderr=said, text=True, env=environment
        ) as process:
            try:
                for line in process.stdout or ():
                    yield json.loads(line)
            except BaseException:
                process.kill()
                raise
        if process.returncode:
            said.seek(0)
            lines = [line.strip() for line in said if line.strip()] or [f"status {process.returncode}"]
            raise ServerError(f"{program} ended early: {lines[-1]}")
