"""Decides how JSON is read from the database: so that nothing a worker may have put there keeps the rest from being."""

from __future__ import annotations

import json
from typing import Any


def read_document(text: str) -> Any:
    """Read a document; one that no schema of ours accepts is changed where Python refuses to read it at all.

    PostgreSQL keeps integers of a hundred thousand digits, which become infinite here, and lists nested thousands of
    levels deep, which become None: whoever validates the document refuses either.
    """
    try:
        return json.loads(text)
    except RecursionError:
        return None
    except ValueError:
        return json.loads(text, parse_int=float)
