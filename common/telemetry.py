"""Decides how logs look: events with keyed facts, for people on a terminal or as JSON lines in production."""

from __future__ import annotations

import logging
import re
import sys
from typing import Any

import structlog

from common.printable import visible

#: The password of a URL, wherever one stands in a text.
_PASSWORD = re.compile(r"(?<=://)([^\s:/@]*):\S*@")


def mask_passwords(text: str) -> str:
    """Replace passwords of URLs in a text by ``***``."""
    return _PASSWORD.sub(r"\1:***@", text)


def _shown(_logger: Any, _name: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
    """Write unprintable characters as escapes: a clip's name must not act on a terminal, or look like another line."""
    return {key: visible(value) if isinstance(value, str) else value for key, value in event.items()}


class _Masked:
    """Renders an event, without the passwords of URLs that an error or another program may have put into it."""

    def __init__(self, renderer: structlog.typing.Processor) -> None:
        self._renderer = renderer

    def __call__(self, logger: Any, name: str, event: structlog.typing.EventDict) -> str:
        return mask_passwords(str(self._renderer(logger, name, event)))


def configure_logs(*, as_json: bool, level: str) -> None:
    """Send structlog and the standard library's logs to standard error, in one format, passwords masked."""
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    renderer: structlog.typing.Processor = (
        structlog.processors.JSONRenderer() if as_json else structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            # Tracebacks of other packages too are made text here: the renderer would show variables, secrets included.
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.format_exc_info,
                _shown,
                _Masked(renderer),
            ],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level)
    # Celery would log each message twice more, which the workers' own events say with ids; Alembic would say at each
    # start which database it knows.
    for name in ("celery.worker.strategy", "celery.app.trace", "alembic.runtime.migration"):
        logging.getLogger(name).setLevel(logging.WARNING)
    structlog.configure(
        processors=[
            *shared,
            structlog.processors.format_exc_info,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
