"""No statement is put together from values: text() is given literals, or names from a list that stands in the code."""

import ast
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FILES = sorted(path for part in ("common", "scheduler", "worker", "migrations") for path in (ROOT / part).rglob("*.py"))
EXECUTE = {"text", "exec_driver_sql", "execute", "scalars", "scalar"}
#: Statements with a name of our own in them, which PostgreSQL cannot take as a parameter.
NAMES = {
    ("migrations/schema.py", "f'DROP VIEW IF EXISTS {names}'"),
    ("scheduler/embedded/servers.py", "f'CREATE DATABASE \"{DATABASE}\"'"),
    ("scheduler/exclusive.py", "f'LISTEN {_CHANNEL}'"),
    ("migrations/schema.py", "path.read_text()"),
    # Names of roles, which the server itself has quoted.
    ("scheduler/cli/db.py", "str(statement)"),
    # The one place where views are read; each of its callers is held against the linter's rule, see below.
    ("scheduler/report/rows.py", "query"),
}


def built(tree: ast.AST) -> list[str]:
    """First arguments of calls that take SQL text and that are put together, or come from somewhere."""
    found = []
    for node in ast.walk(tree):
        if not (isinstance(node, ast.Call) and node.args):
            continue
        name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        if name == "text" and isinstance(node.func, ast.Attribute) and ast.unparse(node.func) != "sa.text":
            continue  # Somebody else's: matplotlib draws it.
        first = node.args[0]
        puts_together = isinstance(first, ast.JoinedStr | ast.BinOp) or (
            isinstance(first, ast.Call)
            and isinstance(first.func, ast.Attribute)
            and first.func.attr in {"format", "join"}
        )
        if (name in EXECUTE and puts_together) or (
            name in {"text", "exec_driver_sql"} and not isinstance(first, ast.Constant)
        ):
            found.append(ast.unparse(first))
    return found


def test_values_are_bound() -> None:
    found = {
        (str(path.relative_to(ROOT)), statement)
        for path in FILES if "versions" not in path.parts
        for statement in built(ast.parse(path.read_text(encoding="utf-8")))
    }  # fmt: skip
    assert found - NAMES == set()
    assert NAMES - found == set()


def test_the_linter_looks_for_statements_put_together_outside_of_tests_and_old_revisions() -> None:
    lint = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["ruff"]["lint"]
    assert lint["select"] == ["ALL"]
    assert not {"S", "S6", "S60", "S608"} & set(lint["ignore"])
    spared = {place for place, rules in lint["per-file-ignores"].items() if {"S", "S608"} & set(rules)}
    assert spared == {"tests/**", "benchmarks/**", "examples/**", "migrations/versions/**"}
    assert not [path for path in FILES if "noqa: S608" in path.read_text(encoding="utf-8")]


@pytest.mark.parametrize(
    "statement", ['text(f"SELECT {x}")', 'c.execute("SELECT " + x)', "sa.text('{}'.format(x))", "text(x)"]
)
def test_what_is_put_together_is_found(statement: str) -> None:
    assert built(ast.parse(statement))
