"""Decides whether a database is at head, and brings it there: tables by Alembic, then views and functions anew.

Views and functions have no history of their own: each upgrade drops Flowcert's views, runs the revisions, and installs
the current files of ``functions/`` and ``views/``; views of the user's own stay. A digest of those files is kept in
``schema_objects``, and beside it the version of the program whose workers may claim tasks.
"""

from __future__ import annotations

import hashlib
import re
from graphlib import TopologicalSorter
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from psycopg2.errors import DependentObjectsStillExist
from sqlalchemy import Connection, Engine, inspect, text
from sqlalchemy.exc import DBAPIError, OperationalError, ProgrammingError

from common.errors import SchemaError, ServerError
from common.program import program_digest
from common.store.engine import shown

_HERE = Path(__file__).parent
#: Key of the session advisory lock that lets one upgrade run at a time; any constant does.
_LOCK = 0x666C6F77
_REMEDY = "run: flowcert db upgrade"
#: Views that earlier versions installed and whose files are gone.
_FORMER_VIEWS = ("video_certified_share", "video_class_bounds")


def alembic_config(connection: Connection | None = None) -> Config:
    """Alembic's configuration, for this package's versions."""
    config = Config()
    config.set_main_option("script_location", str(_HERE))
    config.set_main_option("path_separator", "os")
    config.set_main_option("file_template", "%%(year)d-%%(month).2d-%%(day).2d-%%(rev)s_%%(slug)s")
    config.attributes["connection"] = connection
    return config


def object_files() -> list[Path]:
    """Files of functions and views in the order of installation.

    A view comes after those that it reads, and grants come after what they grant.
    """
    functions = sorted((_HERE / "functions").glob("*.sql"), key=lambda path: (path.stem == "grants", path.stem))
    views = {path.stem: path for path in sorted((_HERE / "views").glob("*.sql"))}
    reads = {name: sorted(_read_by(path) & views.keys()) for name, path in views.items()}
    in_order = [views[name] for name in TopologicalSorter(reads).static_order()]
    return [*functions[:-1], *in_order, functions[-1]]


def _read_by(view: Path) -> set[str]:
    """Names of the tables and views that a view reads, itself aside."""
    return set(re.findall(r"\b(?:FROM|JOIN) (\w+)", view.read_text(encoding="utf-8"))) - {view.stem}


def own_views() -> list[str]:
    """Names of the views that Flowcert installs, or once did: in its schema they are no one else's."""
    return sorted({path.stem for path in (_HERE / "views").glob("*.sql")} | set(_FORMER_VIEWS))


def objects_digest() -> str:
    """SHA-256 of the function and view files, names included."""
    digest = hashlib.sha256()
    for path in object_files():
        digest.update(f"{path.name}\0".encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()


def upgrade(engine: Engine, *, program: bool = True) -> None:
    """Bring the database to head; safe to run twice and from several processes at once.

    With ``program`` the database is also set up for this version's workers, so that those of any other may claim
    nothing more. Without, only when the schema is not at head: a command that merely looks stops nobody at work.

    Raises SchemaError, and changes nothing, when a view of the user's own depends on what an upgrade replaces.
    """
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("SELECT pg_advisory_lock(:key)"), {"key": _LOCK})
        try:
            _upgrade_locked(engine, program=program)
        finally:
            connection.execute(text("SELECT pg_advisory_unlock(:key)"), {"key": _LOCK})


def _upgrade_locked(engine: Engine, *, program: bool) -> None:
    if problem_of(engine) is None:
        if program:
            with engine.begin() as connection:
                statement = text("UPDATE schema_objects SET program = :program WHERE program <> :program")
                connection.execute(statement, {"program": program_digest()})
        return
    try:
        _replace_everything(engine)
    except DBAPIError as error:
        if not isinstance(error.orig, DependentObjectsStillExist):
            raise
        dependent = "; ".join(error.orig.diag.message_detail.splitlines())
        raise SchemaError(
            f"database: nothing was upgraded: {dependent}; drop what is not Flowcert's, {_REMEDY}, and make it again"
        ) from error


def _replace_everything(engine: Engine) -> None:
    with engine.begin() as connection:
        connection.execute(text("SET LOCAL lock_timeout = '10s'"))
        # All in one statement, since they read each other; never CASCADE, which would take the user's views along.
        names = ", ".join(own_views())
        connection.execute(text(f"DROP VIEW IF EXISTS {names}"))
        command.upgrade(alembic_config(connection), "head")
        for path in object_files():
            # Without parameters the driver leaves colons and percent signs of the file alone.
            connection.execution_options(no_parameters=True).exec_driver_sql(path.read_text())
        connection.execute(text("DELETE FROM schema_objects"))
        connection.execute(
            text("INSERT INTO schema_objects (digest, program) VALUES (:digest, :program)"),
            {"digest": objects_digest(), "program": program_digest()},
        )


def problem_of(engine: Engine) -> str | None:
    """Say what keeps a database from being at head, or None when it is."""
    head = ScriptDirectory.from_config(alembic_config()).get_current_head()
    with engine.connect() as connection:
        if not inspect(connection).has_table("alembic_version"):
            return "the database has no Flowcert schema"
        current = MigrationContext.configure(connection).get_current_revision()
        if current != head:
            return f"the database is at revision {current}, this program needs {head}"
        if connection.execute(text("SELECT digest FROM schema_objects")).scalar() != objects_digest():
            return "the database's views and functions are not those of this program"
    return None


def require_head(engine: Engine) -> None:
    """Raise SchemaError, naming the command to run, unless the database is at head; ServerError if unreachable."""
    try:
        problem = problem_of(engine)
    except (OperationalError, ProgrammingError) as error:
        # An option of the URL that is not known is no operational error to the driver.
        first_line = str(error.orig).strip().splitlines()[0]
        raise ServerError(f"database: cannot connect to {shown(engine.url)}: {first_line}") from error
    if problem is not None:
        raise SchemaError(f"database: {problem}; {_REMEDY}")


def require_program(engine: Engine) -> None:
    """Raise what ``require_head`` raises, and SchemaError when the database is set up for another version's workers."""
    require_head(engine)
    with engine.connect() as connection:
        known, own = connection.execute(text("SELECT program FROM schema_objects")).scalar_one(), program_digest()
    if known != own:
        raise SchemaError(
            f"database: is set up for version {known[:12]} of the program, and this is {own[:12]}, whose arithmetic may"
            f" differ; install that version here, or to change over, {_REMEDY}"
        )
