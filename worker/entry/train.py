"""Decides how a training is started and told of: one JSON document in, JSON lines out, until one says how it ended.

The scheduler has no torch; ``flowcert train`` runs ``python -m worker.entry.train``.
"""

from __future__ import annotations

import json
import signal
import sys
from typing import Any

from pydantic import ValidationError

from common.errors import FlowcertError, InputError
from common.jobspec import first_problem
from worker.numerics import configure_numerics
from worker.training import TrainRequest, train

#: Exit status of a program that a signal ended.
_INTERRUPTED = 130


def tell(event: dict[str, Any]) -> None:
    """Write one line, at once."""
    sys.stdout.write(json.dumps(event) + "\n")
    sys.stdout.flush()


def main() -> int:
    """Train what standard input says; 0 when the weights are written, 1 with a last line that says why not."""
    # A polite kill ends like Ctrl-C: at any moment, for everything that is kept is written in one step.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)
    try:
        try:
            request = TrainRequest.model_validate_json(sys.stdin.read())
        except ValidationError as error:
            raise first_problem(error) from error
        configure_numerics(request.threads)
        train(request, tell)
    except InputError as error:
        tell({"event": "refused", "where": error.where, "problem": error.problem})
        return 1
    except FlowcertError as error:
        tell({"event": "refused", "where": "train", "problem": str(error)})
        return 1
    except (KeyboardInterrupt, BrokenPipeError):
        # Whoever listened may be gone; nothing may be written at exit either.
        sys.stdout = None
        return _INTERRUPTED
    return 0


if __name__ == "__main__":
    sys.exit(main())
