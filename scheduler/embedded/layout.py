"""Decides where the embedded servers keep their files and sockets, and so which URLs reach them."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

from common.errors import ServerError

DATABASE = "flowcert"
"""Name of the database and of its superuser."""

_POSTGRES_SOCKET = ".s.PGSQL.5432"
_VALKEY_SOCKET = "valkey.sock"
_MAX_SOCKET_BYTES = 107
"""Longest path of a Unix socket on Linux, in bytes, without the closing NUL."""

_PLAIN = re.compile(r"[\w/.+-]+", re.ASCII)
"""Characters that mean the same in a path, in both URLs and in libpq, so that nothing has to be quoted."""


@dataclass(frozen=True)
class Urls:
    """Where the servers are reached: an SQLAlchemy URL and a kombu URL, both over Unix sockets."""

    database_url: str
    broker_url: str


@dataclass(frozen=True)
class Layout:
    """Files of the embedded servers of one data directory; `home` is absolute."""

    home: Path

    @property
    def owner_lock(self) -> Path:
        """Locked by the one process that owns the servers."""
        return self.home / "owner.lock"

    @property
    def servers_lock(self) -> Path:
        """Locked for as long as any server process lives, whatever became of their owner."""
        return self.home / "servers.lock"

    @property
    def ready_file(self) -> Path:
        """Written once both servers answer; tells other processes where."""
        return self.home / "ready.json"

    @property
    def cluster(self) -> Path:
        """PostgreSQL's data; exists only when ``initdb`` has finished."""
        return self.home / "postgres"

    @property
    def new_cluster(self) -> Path:
        """Where ``initdb`` works; whatever is found here at a start was interrupted."""
        return self.home / "postgres.new"

    @property
    def postgres_log(self) -> Path:
        """Everything that ``initdb`` and ``postgres`` say."""
        return self.home / "postgres.log"

    @property
    def valkey_log(self) -> Path:
        """Everything that ``valkey-server`` says."""
        return self.home / "valkey.log"


def layout_of(data_dir: Path) -> Layout:
    """Return the layout of `data_dir`, whose subdirectory ``servers`` is made here for its owner's eyes only.

    Raises
    ------
    ServerError : the directory cannot be made or written.

    """
    home = data_dir.expanduser().resolve() / "servers"
    try:
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise _unusable(home, error) from error
    if not os.access(home, os.R_OK | os.W_OK | os.X_OK):
        raise ServerError(f"{home} cannot be written: set FLOWCERT_DATA_DIR to a directory of your own")
    return Layout(home)


def run_dir_of(layout: Layout) -> Path:
    """Return the socket directory: in the data directory, or a short one for temporary files when that is too long."""
    inside = layout.home / "run"
    if _fits(inside):
        return inside
    digest = hashlib.sha256(os.fsencode(layout.home)).hexdigest()[:16]
    short = Path(tempfile.gettempdir()) / f"flowcert-{os.geteuid()}-{digest}"
    if _fits(short):
        return short
    raise ServerError(f"{short} is too long a path for a Unix socket: set TMPDIR to a short one, such as /tmp")


def make_run_dir(run_dir: Path) -> None:
    """Make an empty socket directory that nobody else can enter; sockets left by dead servers go.

    Raises
    ------
    ServerError : somebody else holds that name.

    """
    shutil.rmtree(run_dir, ignore_errors=True)
    try:
        # Making it anew, instead of accepting what is there, shuts out a directory or link laid by another user.
        run_dir.mkdir(mode=0o700)
    except OSError as error:
        raise _unusable(run_dir, error) from error


def urls_of(run_dir: Path) -> Urls:
    """Return the URLs of the servers whose sockets are in `run_dir`."""
    return Urls(
        database_url=f"postgresql+psycopg2://{DATABASE}@/{DATABASE}?host={run_dir}",
        broker_url=f"redis+socket://{valkey_socket(run_dir)}?virtual_host=0",
    )


def valkey_socket(run_dir: Path) -> Path:
    """Return the path of Valkey's socket."""
    return run_dir / _VALKEY_SOCKET


def _fits(run_dir: Path) -> bool:
    longest = run_dir / _POSTGRES_SOCKET
    return _PLAIN.fullmatch(str(run_dir)) is not None and len(os.fsencode(longest)) <= _MAX_SOCKET_BYTES


def _unusable(path: Path, error: OSError) -> ServerError:
    return ServerError(f"{path} cannot be made ({error.strerror}): set FLOWCERT_DATA_DIR to a directory of your own")
