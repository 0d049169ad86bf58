"""The compose file cannot be run here, so what it refers to is checked: commands, settings, credentials, health.

Valkey's part is run, by the server of the tests.
"""

from __future__ import annotations

import os
import re
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
import redis
import yaml

from common.settings import Settings
from scheduler.embedded.binaries import find_binaries
from scheduler.processes import STOP_SECONDS
from tests.commands import parse, parse_script

ROOT = Path(__file__).parents[3]
TEXT = (ROOT / "docker-compose.yml").read_text(encoding="utf-8")
COMPOSE: dict[str, Any] = yaml.safe_load(TEXT)
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
OURS = ("migrate", "scheduler", "worker", "worker-gpu")
WORKERS = ("worker", "worker-gpu")
#: Keys of a service in the Compose Specification that are used here; another one may be a slip.
KEYS = {
    "image", "build", "command", "environment", "volumes", "depends_on", "healthcheck", "restart", "user",
    "stop_grace_period", "read_only", "tmpfs", "cap_drop", "security_opt", "profiles", "deploy",
}  # fmt: skip


def seconds(duration: str) -> float:
    (number, unit) = re.fullmatch(r"(\d+)([sm])", duration).groups()
    return float(number) * (60 if unit == "m" else 1)


def test_the_services_are_those_of_the_architecture() -> None:
    assert set(SERVICES) == {"postgres", "valkey", "grafana", *OURS}
    assert {key for key in COMPOSE if not key.startswith("x-")} == {"name", "services", "volumes"}
    for name, service in SERVICES.items():
        assert service.keys() <= KEYS, name


@pytest.mark.parametrize("name", OURS)
def test_settings_exist_and_urls_lead_to_services(name: str) -> None:
    given = SERVICES[name]["environment"]
    known = {f"FLOWCERT_{field.upper()}" for field in Settings.model_fields}
    ours = {variable for variable in given if variable.startswith("FLOWCERT_")}
    assert {"FLOWCERT_DATABASE_URL", "FLOWCERT_BROKER_URL"} <= ours <= known
    assert re.fullmatch(r"postgresql://flowcert(_compute)?:\$\{\w+:\?[^}]+\}@postgres/flowcert", given["FLOWCERT_DATABASE_URL"])  # fmt: skip  # noqa: E501
    assert re.fullmatch(r"redis://:\$\{VALKEY_PASSWORD:\?[^}]+\}@valkey/0", given["FLOWCERT_BROKER_URL"])


def test_workers_have_the_narrow_login_that_the_upgrade_makes() -> None:
    assert parse_script(SERVICES["migrate"]["command"][-1]) == [
        "flowcert db upgrade", "flowcert db login", "flowcert db login"
    ]  # fmt: skip
    made = re.findall(r"flowcert db login (\w+) (\w+)", SERVICES["migrate"]["command"][-1])
    assert made == [("flowcert_compute", "worker"), ("flowcert_reader", "dashboard")]
    for name in WORKERS:
        assert (
            "postgresql://flowcert_compute:${WORKER_PASSWORD" in SERVICES[name]["environment"]["FLOWCERT_DATABASE_URL"]
        )
        assert "POSTGRES_PASSWORD" not in str(SERVICES[name])


def test_commands_that_are_run_exist() -> None:
    assert parse(SERVICES["scheduler"]["command"]) == "flowcert scheduler"
    for name in WORKERS:
        assert parse(SERVICES[name]["command"]) == "flowcert worker"
    assert parse(SERVICES["worker"]["healthcheck"]["test"][1:]) == "flowcert db check"


@pytest.mark.parametrize("name", sorted(SERVICES))
def test_nothing_is_published_and_names_leave_room_for_more(name: str) -> None:
    assert SERVICES[name].keys().isdisjoint({"ports", "network_mode", "privileged", "container_name"})


@pytest.mark.parametrize("name", sorted(set(SERVICES) - {"migrate"}))
def test_services_that_stay_are_watched(name: str) -> None:
    assert SERVICES[name]["healthcheck"]["test"][0] in ("CMD", "CMD-SHELL")
    assert SERVICES[name]["restart"] == "unless-stopped"


def test_work_begins_after_the_upgrade() -> None:
    for name in ("scheduler", *WORKERS, "grafana"):
        assert SERVICES[name]["depends_on"]["migrate"]["condition"] == "service_completed_successfully"
    for name in ("postgres", "valkey"):
        assert SERVICES["migrate"]["depends_on"][name]["condition"] == "service_healthy"


def test_workers_have_time_to_hand_in() -> None:
    for name in WORKERS:
        assert seconds(SERVICES[name]["stop_grace_period"]) > STOP_SECONDS + 10


def test_a_gpu_machine_has_a_process_for_each_gpu_and_only_when_asked() -> None:
    service = SERVICES["worker-gpu"]
    assert service["profiles"] == ["gpu"]
    assert service["command"] == ["flowcert", "worker", "--gpus", "all"]
    (device,) = service["deploy"]["resources"]["reservations"]["devices"]
    assert device == {"driver": "nvidia", "count": "all", "capabilities": ["gpu"]}
    assert [name for name in SERVICES if "profiles" in SERVICES[name]] == ["worker-gpu"]


def test_images_are_pinned_and_ours_are_built_from_targets_that_exist() -> None:
    stages = re.findall(r"^FROM \S+ AS (\w+)$", (ROOT / "Dockerfile").read_text(encoding="utf-8"), re.MULTILINE)
    for name, service in SERVICES.items():
        assert re.fullmatch(r"[\w/.-]+:\d+\.\d+(\.\d+)?(-\w+)?", service["image"]), name
        if name in OURS:
            assert service["build"]["target"] in stages
            assert (ROOT / service["build"]["context"] / "Dockerfile").is_file()


@pytest.mark.parametrize("name", OURS)
def test_our_containers_can_do_little(name: str) -> None:
    service = SERVICES[name]
    assert (service["read_only"], service["cap_drop"]) == (True, ["ALL"])
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert any(volume.endswith(":/data:ro") for volume in service["volumes"])


def test_volumes_are_declared_and_mounted_folders_exist() -> None:
    for service in SERVICES.values():
        for volume in service["volumes"]:
            if volume.startswith("./"):
                assert (ROOT / volume.partition(":")[0]).is_dir()
            elif not volume.startswith("${"):
                assert volume.partition(":")[0] in COMPOSE["volumes"]


def test_no_password_has_a_default_and_each_is_asked_for() -> None:
    variables = re.findall(r"(?<!\$)\$\{(\w+)([^}]*)\}", TEXT)
    assert variables
    assert all(rule.startswith(":?") for _, rule in variables)
    asked = [
        line.partition("=") for line in (ROOT / ".env.example").read_text().splitlines() if not line.startswith("#")
    ]
    assert {name for name, _ in variables} == {name for name, _, _ in asked}
    assert all(value == "" for _, _, value in asked)


def test_the_dashboard_reads_as_the_reader() -> None:
    folder = ROOT / "deploy" / "grafana" / "provisioning" / "datasources"
    (source,) = yaml.safe_load((folder / "flowcert.yaml").read_text())["datasources"]
    assert (source["type"], source["user"]) == ("grafana-postgresql-datasource", "flowcert_reader")
    assert source["url"].partition(":")[0] in SERVICES
    assert source["jsonData"]["database"] == SERVICES["postgres"]["environment"]["POSTGRES_DB"]
    variable = source["secureJsonData"]["password"].removeprefix("$")
    assert variable in SERVICES["grafana"]["environment"]


def valkey_scripts() -> list[str]:
    """The scripts that start Valkey: of compose, as a shell gets it, and of Kubernetes."""
    documents = yaml.safe_load_all((ROOT / "deploy" / "kubernetes" / "valkey.yaml").read_text())
    (stateful,) = [document for document in documents if document["kind"] == "StatefulSet"]
    (container,) = stateful["spec"]["template"]["spec"]["containers"]
    return [SERVICES["valkey"]["command"][-1].replace("$$", "$"), container["command"][-1]]


@pytest.mark.parametrize("script", valkey_scripts(), ids=["compose", "kubernetes"])
def test_valkey_asks_for_its_password_keeps_its_data_and_never_evicts(script: str, tmp_path: Path) -> None:
    server, socket = find_binaries().valkey, tmp_path / "socket"
    here = script.replace("exec valkey-server", f"exec {server}")
    here = here.replace("dir /data", f"dir {tmp_path}\nport 0\nunixsocket {socket}")
    assert here.count(str(tmp_path)) == 2
    refused = subprocess.run(["sh", "-c", here], env={"PATH": os.environ["PATH"]}, capture_output=True, check=False)
    assert refused.returncode != 0
    process = subprocess.Popen(
        ["sh", "-c", here], env={"PATH": os.environ["PATH"], "VALKEY_PASSWORD": "s3cret"}, stdout=subprocess.DEVNULL
    )
    try:
        limit = time.monotonic() + 30
        while not socket.exists():
            assert time.monotonic() < limit
            time.sleep(0.05)
        with redis.Redis(unix_socket_path=str(socket)) as stranger, pytest.raises(redis.AuthenticationError):
            stranger.ping()
        with redis.Redis(unix_socket_path=str(socket), password="s3cret") as client:
            wanted = {"maxmemory-policy": "noeviction", "appendonly": "yes", "appendfsync": "everysec", "save": ""}
            assert {name: client.config_get(name)[name] for name in wanted} == wanted
            client.set("kept", "1")
        assert "s3cret" not in Path(f"/proc/{process.pid}/cmdline").read_text()
    finally:
        process.terminate()
        assert process.wait(30) == 0
    assert any((tmp_path / "appendonlydir").iterdir())
