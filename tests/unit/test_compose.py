"""The compose file cannot be run here, so what it refers to is checked: commands, settings, credentials, health."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from common.settings import Settings
from scheduler.cli.main import app

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docker-compose.yml").read_text(encoding="utf-8")
SERVICES: dict[str, dict[str, Any]] = yaml.safe_load(TEXT)["services"]
OURS = ("migrate", "scheduler", "worker")


def test_the_services_are_those_of_the_architecture() -> None:
    assert set(SERVICES) == {"postgres", "valkey", *OURS}


@pytest.mark.parametrize("name", OURS)
def test_settings_and_commands_exist(name: str) -> None:
    service = SERVICES[name]
    known = {f"FLOWCERT_{field.upper()}" for field in Settings.model_fields}
    assert {"FLOWCERT_DATABASE_URL", "FLOWCERT_BROKER_URL"} <= service["environment"].keys() <= known
    program, *words = service["command"]
    commands = {command.name or command.callback.__name__ for command in app.registered_commands}
    groups = {group.name for group in app.registered_groups}
    assert program == "flowcert"
    assert words[0] in commands | groups


@pytest.mark.parametrize("name", sorted(SERVICES))
def test_nothing_is_published_and_names_leave_room_for_more(name: str) -> None:
    assert SERVICES[name].keys().isdisjoint({"ports", "network_mode", "privileged", "container_name"})


@pytest.mark.parametrize("name", ["postgres", "valkey", "scheduler", "worker"])
def test_services_that_stay_are_watched(name: str) -> None:
    assert SERVICES[name]["healthcheck"]["test"][0] in ("CMD", "CMD-SHELL")
    assert SERVICES[name]["restart"] == "unless-stopped"


def test_the_check_of_our_services_is_a_program() -> None:
    kind, python, flag, program = SERVICES["worker"]["healthcheck"]["test"]
    assert (kind, python, flag) == ("CMD", "python", "-c")
    compile(program, "healthcheck", "exec")
    imports = "; ".join(part.strip() for part in program.split(";") if part.strip().startswith("from "))
    exec(imports, {})


def test_work_begins_after_the_upgrade() -> None:
    assert SERVICES["migrate"]["command"] == ["flowcert", "db", "upgrade"]
    for name in ("scheduler", "worker"):
        assert SERVICES[name]["depends_on"]["migrate"]["condition"] == "service_completed_successfully"


def test_no_password_has_a_default_and_each_is_asked_for() -> None:
    variables = re.findall(r"(?<!\$)\$\{(\w+)([^}]*)\}", TEXT)
    assert variables
    assert all(rule.startswith(":?") for _, rule in variables)
    asked = {line.partition("=")[0] for line in (ROOT / ".env.example").read_text().splitlines() if "=" in line}
    assert {name for name, _ in variables} == {name for name in asked if not name.startswith("#")}


def test_the_broker_never_evicts() -> None:
    assert "--maxmemory-policy noeviction" in SERVICES["valkey"]["command"][-1]
    assert "--requirepass" in SERVICES["valkey"]["command"][-1]


def test_the_image_runs_as_an_ordinary_user_with_the_pinned_packages() -> None:
    lines = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    assert re.search(r"^USER (?!root)\w+$", lines, re.MULTILINE)
    assert "-c constraints.txt" in lines
    for copied in re.findall(r"^COPY (.+) \S+$", lines, re.MULTILINE):
        assert all((ROOT / name).exists() for name in copied.split())
