"""Holds the embedded default: a real PostgreSQL and a real Redis-protocol server, run from the data directory."""

from scheduler.embedded.layout import Urls
from scheduler.embedded.stack import EmbeddedStack, start_stack

__all__ = ["EmbeddedStack", "Urls", "start_stack"]
