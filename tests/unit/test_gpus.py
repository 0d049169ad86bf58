"""Workers are pinned to the GPUs that nvidia-smi lists; what is not there is refused with one line.

Where there is no GPU, a program of the same name says what NVIDIA's says.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch

from common.errors import InputError
from scheduler.gpus import choose_gpus, list_gpus
from worker.numerics import driver_version

FIRST, SECOND = "GPU-6b8f1c0e-3c1d-4f0e-9a55-0d7c5a1b2c3d", "GPU-a1b2c3d4-0000-1111-2222-333344445555"
LISTED = f"""GPU 0: NVIDIA H100 80GB HBM3 (UUID: {FIRST})
  MIG 1g.10gb     Device  0: (UUID: MIG-0f0f0f0f-1111-2222-3333-444455556666)
GPU 1: NVIDIA H100 80GB HBM3 (UUID: {SECOND})"""


def say(folder: Path, text: str, status: int = 0) -> None:
    """Put an nvidia-smi there that says this."""
    program = folder / "nvidia-smi"
    program.write_text(f"#!/bin/sh\ncat <<'END'\n{text}\nEND\nexit {status}\n")
    program.chmod(0o755)


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that programs are taken from before any other."""
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    return tmp_path


def pinned(wanted: str) -> list[tuple[str, str]]:
    return [(name, environment["CUDA_VISIBLE_DEVICES"]) for name, environment in choose_gpus(wanted).items()]


def test_each_gpu_is_named_by_its_uuid(machine: Path) -> None:
    say(machine, LISTED)
    assert pinned("all") == pinned("0,1") == [("gpu0", FIRST), ("gpu1", SECOND)]
    assert pinned("1") == [("gpu1", SECOND)]


def test_all_are_those_that_a_cluster_has_given(machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    say(machine, LISTED)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")
    assert pinned("all") == [("gpu1", "1")]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    with pytest.raises(InputError, match="CUDA_VISIBLE_DEVICES is empty"):
        choose_gpus("all")


@pytest.mark.parametrize(
    ("wanted", "problem"),
    [
        ("2", "there is no GPU 2; nvidia-smi lists 0, 1"),
        ("0,0", "'0,0' names a GPU twice"),
        ("0,", "'0,' is neither all nor numbers"),
        ("first", "'first' is neither all nor numbers"),
        ("-1", "'-1' is neither all nor numbers"),
    ],
)
def test_what_is_not_there_is_refused(machine: Path, wanted: str, problem: str) -> None:
    say(machine, LISTED)
    with pytest.raises(InputError, match=f"^--gpus: {problem}"):
        choose_gpus(wanted)


@pytest.mark.parametrize("wanted", ["all", "0"])
def test_a_machine_without_gpus_says_why(machine: Path, wanted: str, monkeypatch: pytest.MonkeyPatch) -> None:
    say(machine, "No devices found.")
    with pytest.raises(InputError, match="lists no GPU"):
        choose_gpus(wanted)
    say(machine, "NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver.\nMore.", status=9)
    with pytest.raises(InputError, match=r"nvidia-smi -L failed: NVIDIA-SMI has failed because .* driver.$"):
        choose_gpus(wanted)
    monkeypatch.setenv("PATH", str(machine / "nothing"))
    with pytest.raises(InputError, match="no nvidia-smi, so no NVIDIA driver"):
        choose_gpus(wanted)


def test_the_driver_is_the_first_line_or_unknown(machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    say(machine, "550.54.15\n550.54.15")
    assert driver_version() == "550.54.15"
    say(machine, "failed", status=9)
    assert driver_version() is None
    monkeypatch.setenv("PATH", str(machine / "nothing"))
    assert driver_version() is None


@pytest.mark.skipif(shutil.which("nvidia-smi") is None, reason="no nvidia-smi here: NVIDIA's own output is not read")
def test_the_real_program_is_understood() -> None:
    assert len(list_gpus()) == torch.cuda.device_count()
    assert driver_version()
