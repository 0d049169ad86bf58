"""Holds what a release consists of together: targets, version, changelog, dependencies and Pythons agree."""

from __future__ import annotations

import re
import shutil
import subprocess
import tomllib
from datetime import date
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
CHANGELOG = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
RELEASES = (ROOT / "docs/release.md").read_text(encoding="utf-8")
REQUIREMENT = re.compile(
    r"(?P<name>[\w-]+)(?:\[\w+\])?(?P<sign>>=|==)(?P<least>[\w.]+)(?:,<(?P<below>[\w.]+))?(?:;.*)?"
)


def requirements() -> list[re.Match[str]]:
    """Every dependency of the program and of those who work on it."""
    declared = [*PROJECT["dependencies"], *PROJECT["optional-dependencies"]["dev"]]
    return [found for text in declared if (found := REQUIREMENT.fullmatch(text))]


def pins(name: str) -> dict[str, str]:
    """Releases that a file of constraints fixes, by the packages' names as they are compared."""
    lines = (ROOT / name).read_text(encoding="utf-8").split()
    return {package.lower().replace("_", "-"): release for package, release in (line.split("==") for line in lines)}


def numbers(release: str) -> tuple[int, ...]:
    """A release as it is ordered; zeros at its end say nothing."""
    return tuple(int(part) for part in re.sub(r"(\.0)+$", "", release.partition(".post")[0]).split("."))


def targets() -> dict[str, str]:
    """Names of all targets, with what stands behind the colon; rules for files are none."""
    rules = re.findall(r"^([a-z][\w-]*):(?!=)(.*)$", MAKEFILE, re.MULTILINE)
    return dict(rules)


def phony() -> list[str]:
    (listed,) = re.findall(r"^\.PHONY: (.+?)$(?<!\\)", MAKEFILE.replace("\\\n", " "), re.MULTILINE)
    return listed.split()


def test_every_target_is_phony_and_explains_itself() -> None:
    assert {"demo", "test", "lint", "bench", "help"} <= targets().keys()
    assert sorted(phony()) == sorted(targets())
    for target, rest in targets().items():
        assert re.search(r"## \S", rest), target


@pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")
def test_help_lists_every_target_below_what_it_is_for() -> None:
    shown = subprocess.run(
        ["make", "-C", ROOT, "--no-print-directory", "help"], capture_output=True, text=True, check=True
    )
    groups = re.findall(r"^(\S.*):\n((?:  make .+\n)+)", shown.stdout, re.MULTILINE)
    listed = [target for _, lines in groups for target in re.findall(r"^  make ([\w-]+) +\S", lines, re.MULTILINE)]
    assert sorted(listed) == sorted(targets())
    assert len(groups) == MAKEFILE.count("\n##@ ") > 1


def test_the_newest_release_of_the_changelog_is_this_version() -> None:
    sections = re.findall(r"^## \[(.+?)\](?: - (\S+))?$", CHANGELOG, re.MULTILINE)
    assert sections[0] == ("Unreleased", "")
    assert sections[1][0] == PROJECT["version"]
    days = [date.fromisoformat(day) for _, day in sections[1:]]
    assert days == sorted(days, reverse=True)


def test_the_changelog_has_each_kind_of_change_once_a_release() -> None:
    for section in re.split(r"^## ", CHANGELOG, flags=re.MULTILINE)[1:]:
        kinds = re.findall(r"^### (.+)$", section, re.MULTILINE)
        order = ["Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"]
        assert kinds == [kind for kind in order if kind in kinds]


def test_every_dependency_says_from_which_release_on() -> None:
    assert len(requirements()) == len(PROJECT["dependencies"]) + len(PROJECT["optional-dependencies"]["dev"])


def test_the_lowest_constraints_are_the_declared_minima() -> None:
    assert pins("constraints-lowest.txt") == {found["name"]: found["least"] for found in requirements()}


def test_what_is_pinned_lies_within_what_is_declared() -> None:
    pinned = pins("constraints.txt")
    for found in requirements():
        release = numbers(pinned[found["name"]])
        assert release >= numbers(found["least"]), found["name"]
        assert found["sign"] == ">=" or release == numbers(found["least"]), found["name"]
        assert found["below"] is None or release < numbers(found["below"]), found["name"]


def test_pythons_are_declared_as_tested() -> None:
    declared = re.findall(r"Programming Language :: Python :: (3\.\d+)", " ".join(PROJECT["classifiers"]))
    rows = re.findall(r"^\| `make test.*? \| (3\.\d+)\.\d+ \| .+ \| \d+ passed", RELEASES, re.MULTILINE)
    assert sorted(set(rows)) == declared
    first, last = (int(version.partition(".")[2]) for version in (declared[0], declared[-1]))
    assert PROJECT["requires-python"] == f">=3.{first},<3.{last + 1}"
