"""The Dockerfile cannot be built here, so it is read: stages, user, sources, init, and what pip would choose."""

from __future__ import annotations

import importlib.metadata
import json
import re
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.commands import parse

ROOT = Path(__file__).parents[3]
#: Instructions with their arguments, continued lines joined, comments left out.
LINES = [
    re.split(r"\s+", line.strip(), maxsplit=1)
    for line in re.sub(
        r"\\\n", " ", re.sub(r"^#.*\n", "", (ROOT / "Dockerfile").read_text(encoding="utf-8"), flags=re.MULTILINE)
    ).splitlines()
    if line.strip()
]


def stages() -> dict[str, list[tuple[str, str]]]:
    """Instructions of each stage, those it is built from before its own."""
    found: dict[str, list[tuple[str, str]]] = {}
    for word, rest in LINES:
        if word == "FROM":
            base, name = re.fullmatch(r"(\S+) AS (\w+)", rest).groups()
            found[name] = [*found.get(base, [("FROM", base)])]
        else:
            found[name].append((word, rest))
    return found


def last(stage: str, word: str) -> str:
    return next(rest for given, rest in reversed(stages()[stage]) if given == word)


@pytest.mark.parametrize("stage", ["cpu", "cuda"])
def test_the_image_runs_our_program_as_an_ordinary_user_under_an_init(stage: str) -> None:
    user, group = last(stage, "USER").split(":")
    assert int(user) > 0
    assert f"--uid {user} --gid {group}" in " ".join(rest for _, rest in stages()[stage])
    assert json.loads(last(stage, "ENTRYPOINT")) == ["tini", "--"]
    assert last(stage, "STOPSIGNAL") == "SIGTERM"
    assert parse(json.loads(last(stage, "HEALTHCHECK").partition(" CMD ")[2])) == "flowcert db check"
    # Where the source lies, its folders would be imported instead of the installed packages.
    assert last(stage, "WORKDIR") != "/opt/flowcert"


@pytest.mark.parametrize("stage", ["cpu", "cuda"])
def test_the_base_is_pinned_and_so_are_the_packages(stage: str) -> None:
    assert re.fullmatch(r"python:3\.11\.\d+-slim-\w+", last(stage, "FROM"))
    installs = [rest for word, rest in stages()[stage] if word == "RUN" and "pip install" in rest]
    assert installs == ["pip install -c constraints.txt ."]


def test_what_is_copied_exists_and_is_what_the_package_is_made_of() -> None:
    copied = [name for word, rest in LINES if word == "COPY" for name in rest.split()[:-1]]
    assert all((ROOT / name).exists() for name in copied)
    ignored = (ROOT / ".dockerignore").read_text().split()
    assert not set(copied) & set(ignored)
    packages = re.findall(r'"(\w+)\*"', (ROOT / "pyproject.toml").read_text().partition("include = ")[2].split("]")[0])
    assert sorted(packages) == sorted(name for name in copied if (ROOT / name).is_dir())


def test_secrets_do_not_enter_the_image() -> None:
    ignored = (ROOT / ".dockerignore").read_text().split()
    assert {".env", ".git", "deploy"} <= set(ignored)
    assert not re.search(r"PASSWORD|TOKEN|SECRET", str(LINES))


def test_the_gpu_image_asks_for_the_driver_and_nvidia_smi() -> None:
    given = " ".join(rest for word, rest in stages()["cuda"] if word == "ENV")
    assert "NVIDIA_VISIBLE_DEVICES=all" in given
    assert "NVIDIA_DRIVER_CAPABILITIES=compute,utility" in given


def test_every_package_that_pip_would_install_is_pinned_as_installed_here() -> None:
    """Follow the requirements of the program as pip does; torch's own CUDA packages are pinned by torch itself."""
    pins = dict(line.split("==") for line in (ROOT / "constraints.txt").read_text().split())
    pinned = {canonicalize_name(name): version for name, version in pins.items()}
    wanted = re.search(r"^dependencies = \[(.+?)^\]", (ROOT / "pyproject.toml").read_text(), re.MULTILINE | re.DOTALL)
    queue = [Requirement(text) for text in re.findall(r'"([^"]+)"', wanted[1])]
    seen: set[tuple[str, str]] = set()
    while queue:
        requirement = queue.pop()
        for extra in requirement.extras or {""}:
            key = (canonicalize_name(requirement.name), extra)
            if key in seen or (requirement.marker and not requirement.marker.evaluate({"extra": ""})):
                continue
            seen.add(key)
            if key[0] in ("setuptools", "pip"):
                continue
            assert pinned[key[0]] == importlib.metadata.version(key[0]).partition("+")[0], key[0]
            for text in importlib.metadata.requires(key[0]) or ():
                needed = Requirement(text)
                if needed.marker is None or any(needed.marker.evaluate({"extra": name}) for name in {"", extra}):
                    needed.marker = None
                    queue.append(needed)
    assert len(seen) > 40
