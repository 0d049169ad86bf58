"""An upgrade may run twice and from several processes at once, goes back and forth, and what is stale is refused."""

from __future__ import annotations

import re
import threading
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory

from common.errors import SchemaError, ServerError
from common.program import program_digest
from common.store.engine import open_engine, open_worker_engine
from common.store.tables import Base
from migrations import schema
from migrations.schema import (
    alembic_config,
    object_files,
    objects_digest,
    own_views,
    problem_of,
    require_head,
    upgrade,
)


@pytest.fixture
def empty(engine: sa.Engine) -> Iterator[sa.Engine]:
    """Engine on a database in which nothing was ever installed."""
    name = f"empty_{uuid.uuid4().hex[:12]}"
    administrator = engine.execution_options(isolation_level="AUTOCOMMIT")
    with administrator.connect() as connection:
        connection.execute(sa.text(f'CREATE DATABASE "{name}" TEMPLATE template0'))
    opened = open_engine(engine.url.set(database=name).render_as_string(hide_password=False))
    yield opened
    opened.dispose()
    with administrator.connect() as connection:
        connection.execute(sa.text(f'DROP DATABASE "{name}" WITH (FORCE)'))


def snapshot(engine: sa.Engine) -> dict[str, list[tuple]]:
    """Everything that an upgrade installs: columns, rules, indexes, functions, triggers, views and rights."""
    queries = {
        "columns": "SELECT table_name, column_name, data_type, is_nullable, column_default"
        " FROM information_schema.columns WHERE table_schema = 'public'",
        "rules": "SELECT conname, pg_get_constraintdef(oid) FROM pg_constraint"
        " WHERE connamespace = 'public'::regnamespace",
        "indexes": "SELECT indexname, indexdef FROM pg_indexes WHERE schemaname = 'public'",
        "functions": "SELECT proname, prosrc, proacl::text FROM pg_proc WHERE pronamespace = 'public'::regnamespace",
        "triggers": "SELECT tgname, pg_get_triggerdef(oid) FROM pg_trigger WHERE NOT tgisinternal",
        "views": "SELECT viewname, definition FROM pg_views WHERE schemaname = 'public'",
        "rights": "SELECT table_name, grantee, privilege_type FROM information_schema.role_table_grants"
        " WHERE table_schema = 'public'",
        "digest": "SELECT digest, program FROM schema_objects",
    }
    with engine.connect() as connection:
        return {
            name: sorted(tuple(str(value) for value in row) for row in connection.execute(sa.text(query)))
            for name, query in queries.items()
        }


def test_there_is_one_head_and_one_history() -> None:
    scripts = ScriptDirectory.from_config(alembic_config())
    assert len(scripts.get_heads()) == 1
    assert len(scripts.get_bases()) == 1


def test_an_empty_database_is_refused_and_an_upgraded_one_has_the_declared_tables(empty: sa.Engine) -> None:
    with pytest.raises(SchemaError, match="no Flowcert schema; run: flowcert db upgrade"):
        require_head(empty)
    upgrade(empty)
    require_head(empty)
    with empty.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), Base.metadata) == []


def test_a_second_upgrade_changes_nothing(empty: sa.Engine) -> None:
    upgrade(empty)
    before = snapshot(empty)
    upgrade(empty)
    assert snapshot(empty) == before


def test_upgrades_at_once_do_not_trip_over_each_other(empty: sa.Engine) -> None:
    url = empty.url.render_as_string(hide_password=False)
    start, problems = threading.Barrier(4), []

    def run() -> None:
        engine = open_engine(url)
        start.wait()
        try:
            upgrade(engine)
        except Exception as error:  # noqa: BLE001 - whatever it is, the test must see it.
            problems.append(error)
        finally:
            engine.dispose()

    threads = [threading.Thread(target=run) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert problems == []
    assert problem_of(empty) is None


def test_down_and_up_again_is_the_same(empty: sa.Engine) -> None:
    upgrade(empty)
    before = snapshot(empty)
    with empty.begin() as connection:
        connection.execute(sa.text(f"DROP VIEW IF EXISTS {', '.join(own_views())}"))
        command.downgrade(alembic_config(connection), "base")
    with empty.connect() as connection:
        assert sa.inspect(connection).get_table_names() == ["alembic_version"]
        assert sa.inspect(connection).get_view_names() == []
    with pytest.raises(SchemaError, match=r"at revision None, this program needs \w+; run: flowcert db upgrade"):
        require_head(empty)
    upgrade(empty)
    assert snapshot(empty) == before


def test_every_file_is_installed_and_nothing_else(engine: sa.Engine) -> None:
    installed = snapshot(engine)
    views = {path.stem for path in object_files() if path.parent.name == "views"}
    functions = {path.stem for path in object_files() if path.parent.name == "functions"} - {"grants"}
    assert {name for name, *_ in installed["views"]} == views
    assert {name for name, *_ in installed["functions"]} == functions
    bodies = {name: source for name, source, _ in installed["functions"]}
    for path in object_files():
        if path.stem in functions:
            (body,) = re.findall(r"AS \$\$(.*?)\$\$", path.read_text(encoding="utf-8"), re.DOTALL)
            assert bodies[path.stem] == body
    assert installed["digest"] == [(objects_digest(), program_digest())]


def test_changed_files_are_refused_until_the_next_upgrade(
    engine: sa.Engine, database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    view = tmp_path / "newer.sql"
    view.write_text("CREATE VIEW newer AS SELECT 1 AS one;\n", encoding="utf-8")
    files = object_files()
    monkeypatch.setattr(schema, "object_files", lambda: [*files, view])
    worker = open_worker_engine(database_url)
    for role in (engine, worker):
        with pytest.raises(SchemaError, match="views and functions are not those of this program; run: flowcert db up"):
            require_head(role)
    upgrade(engine)
    require_head(worker)
    assert "newer" in sa.inspect(engine).get_view_names()


def test_an_upgrade_leaves_the_users_own_views_alone(engine: sa.Engine) -> None:
    with engine.begin() as connection:
        connection.execute(sa.text("CREATE VIEW my_jobs AS SELECT id, status FROM jobs"))
        connection.execute(sa.text("CREATE VIEW video_class_bounds AS SELECT 1 AS of_an_earlier_version"))
        connection.execute(sa.text("UPDATE schema_objects SET digest = 'older'"))
    upgrade(engine)
    require_head(engine)
    assert set(sa.inspect(engine).get_view_names()) == {*own_views(), "my_jobs"} - set(schema._FORMER_VIEWS)


def test_an_upgrade_says_which_views_are_in_its_way_and_changes_nothing(engine: sa.Engine) -> None:
    with engine.begin() as connection:
        connection.execute(sa.text("CREATE SCHEMA mine"))
        connection.execute(sa.text("CREATE VIEW mine.late AS SELECT * FROM job_progress"))
        connection.execute(sa.text("UPDATE schema_objects SET digest = 'older'"))
    before = snapshot(engine)
    with pytest.raises(SchemaError, match=r"nothing was upgraded: view mine\.late depends on view job_progress; drop"):
        upgrade(engine)
    assert snapshot(engine) == before
    with engine.begin() as connection:
        connection.execute(sa.text("DROP VIEW mine.late"))
    upgrade(engine)
    require_head(engine)


def test_a_database_of_another_age_is_refused(engine: sa.Engine) -> None:
    with engine.begin() as connection:
        connection.execute(sa.text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(SchemaError, match=r"at revision 9999, this program needs \w+; run: flowcert db upgrade"):
        require_head(engine)


def test_a_database_that_is_not_there_is_named_without_its_password() -> None:
    engine = open_engine("postgresql://someone:secret@127.0.0.1:1/nowhere")
    with pytest.raises(ServerError) as refused:
        require_head(engine)
    assert "someone:***@127.0.0.1:1/nowhere" in str(refused.value)
    assert "secret" not in str(refused.value)
    assert "\n" not in str(refused.value)


def test_rows_of_an_older_age_are_kept_by_the_revision_that_knows_of_scheduling(engine: sa.Engine) -> None:
    rows = """
INSERT INTO jobs (id, digest, spec, budget_points, status) VALUES (1, 'd', '{}', 10, 'paused');
INSERT INTO jobs (id, digest, generation, spec, budget_points) VALUES (2, 'd', 2, '{}', 10);
INSERT INTO videos (id, job_id, path, label, status, finished_at) VALUES (1, 1, '/a', 'walk', 'done', now());
INSERT INTO videos (id, job_id, path, label) VALUES (2, 2, '/b', 'walk');
INSERT INTO tasks (id, video_id, kind) VALUES (1, 2, 'prepare');
"""
    with engine.begin() as connection:
        connection.execution_options(no_parameters=True).exec_driver_sql(rows)
        assert connection.scalar(sa.text("SELECT job_id FROM tasks")) == 2
        connection.execute(sa.text(f"DROP VIEW IF EXISTS {', '.join(own_views())}"))
        command.downgrade(alembic_config(connection), "0004")
        assert connection.execute(sa.text("SELECT digest, status FROM jobs ORDER BY id")).all() == [
            ("d", "running"), ("d-2", "running"),
        ]  # fmt: skip
        # A program of that age goes on: nothing is left that knows of what is gone.
        connection.execute(sa.text("INSERT INTO tasks (id, video_id, kind) VALUES (2, 1, 'prepare')"))
        connection.execute(sa.text("UPDATE jobs SET status = 'done', finished_at = now() WHERE id = 1"))
    upgrade(engine)
    with engine.connect() as connection:
        assert connection.execute(sa.text("SELECT id, job_id FROM tasks ORDER BY id")).all() == [(1, 2), (2, 1)]
        assert connection.execute(sa.text("SELECT status FROM videos ORDER BY id")).all() == [
            ("cancelled",), ("pending",),
        ]  # fmt: skip
