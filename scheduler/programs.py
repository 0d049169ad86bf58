"""Decides how a worker's program is asked, for only workers have torch and cv2: JSON in, JSON out, a line each."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Generator, Mapping, Sequence
from typing import Any

from common.errors import InputError, ServerError


def answer(program: str, question: Mapping[str, Any], environment: Mapping[str, str] | None = None) -> dict[str, Any]:
    """Run ``python -m program`` on one question and give its answer.

    ``environment`` is what workers on the same servers are given: it says what the program may read and import. Without
    it the program has this process's own.

    Raises InputError where the program refuses, at what it names, and ServerError when it ends without an answer.
    """
    done = subprocess.run(
        [sys.executable, "-P", "-m", program], input=json.dumps(question), capture_output=True, text=True, check=False,
        env=environment,
    )  # fmt: skip
    try:
        found: dict[str, Any] = json.loads(done.stdout)
    except json.JSONDecodeError as error:
        raise ServerError(f"{program} ended early: {last_words(done.stderr, done.returncode)}") from error
    if not found.pop("ok"):
        raise InputError(found["where"], found["problem"])
    return found


def answers(
    program: str, questions: Sequence[Mapping[str, Any]], environment: Mapping[str, str]
) -> Generator[dict[str, Any]]:
    """Run ``python -m program`` and give its answers, one a question, in order; it ends when this is left.

    ``environment`` is as for ``answer``. Raises ServerError when it ends before its last answer.
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
            raise ServerError(f"{program} ended early: {last_words(said.read(), process.returncode)}")


def last_words(said: str, status: int) -> str:
    """What a program that ended early said last on standard error, or its exit status where it said nothing."""
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    return lines[-1] if lines else f"status {status}"
