"""What the README and the pages a stranger starts with tell to paste works, in order, in what looks like a clone."""

import contextlib
import importlib.util
import os
import re
import signal
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import torch

from common.errors import InputError
from common.settings import Settings
from tests.acceptance.conftest import ROOT, Home
from tests.blocks import RUN, SHOWN, Block, blocks_of
from tests.programs import environment_of
from worker.bench import Workbench
from worker.clip import PreparedClip
from worker.factorised import FactorisedEvaluator
from worker.plain import PlainEvaluator

# A page is pasted as a whole; each block has a limit of its own.
pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(1200)]

README, TUTORIAL = ROOT / "README.md", ROOT / "docs" / "tutorial.md"
OWN_MODEL, OWN_DATASET = ROOT / "docs" / "own-model.md", ROOT / "docs" / "own-dataset.md"
DOCUMENTS = [README, TUTORIAL, OWN_MODEL, OWN_DATASET]
#: Blocks that are not run, by their first command, and why; of theirs, make is asked what it would do.
NOT_RUN = {
    "make demo": "it installs into .venv, and make test would run this test; tutorial and demo certify the same clips",
    "make venv": "it installs into .venv, which this very process runs in",
}
#: Lines that are pasted with other values: the reader has servers of their own.
ADDRESS = re.compile(r"^export (FLOWCERT_\w+_URL)=\S+$", re.MULTILINE)


@dataclass(frozen=True)
class Reader:
    """Somebody who pastes blocks into a shell, in a folder that has what a clone has after ``make venv``."""

    clone: Path
    environment: dict[str, str]

    def paste(self, block: Block) -> str:
        """Save a block as the file it names, or run it to its end, which must be a good one; gives what it printed."""
        if block.file is not None:
            (self.clone / block.file).write_text(block.text, encoding="utf-8")
            return ""
        said = self.clone / "build" / "said.txt"
        with said.open("wb") as output:
            process = subprocess.Popen(
                block.command(".venv/bin/python"), cwd=self.clone, env=self.environment,
                stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True,
            )  # fmt: skip
            try:
                status = process.wait(timeout=600)
            finally:
                # A block may leave processes in the background, as its reader's shell would.
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                process.wait()
        text = said.read_text(encoding="utf-8")
        assert status == 0, f"{block} ended with status {status}:\n{text}"
        return text


@pytest.fixture(scope="module")
def reader(home: Home, tmp_path_factory: pytest.TempPathFactory) -> Reader:
    clone = tmp_path_factory.mktemp("clone")
    for entry in ROOT.iterdir():
        if entry.name not in (".venv", ".git", "build"):
            (clone / entry.name).symlink_to(entry)
    # The folder as it is named, since Python finds a virtual environment by its own path.
    (clone / ".venv").symlink_to(Path(sys.executable).parent.parent)
    (clone / "build").mkdir()
    return Reader(clone, environment_of({"data_dir": home.folder}))


def paste_all(reader: Reader, document: Path, **urls: str) -> list[str]:
    """Paste a document's blocks in order; gives what those that were run printed."""
    said: list[str] = []
    for block in blocks_of(document):
        if block.language in SHOWN:
            assert_shown(block, said[-1])
        elif first_command(block) not in NOT_RUN:
            text = ADDRESS.sub(lambda line: f"export {line[1]}='{urls[line[1]]}'", block.text)
            said.append(reader.paste(replace(block, text=text)))
    return said


def first_command(block: Block) -> str:
    return block.text.partition("#")[0].strip()


def assert_shown(block: Block, said: str) -> None:
    """Hold the rows of a table that a document shows to those printed, up to what the lower bound rests on.

    How far the attack gets, and how long it takes, differs from run to run.
    """
    printed = {" ".join(line.partition(" grid ")[0].split()) for line in said.splitlines()}
    shown = [line.partition(" grid ")[0] for line in block.text.splitlines() if " grid " in line]
    assert shown, f"{block} shows no table"
    for line in shown:
        assert " ".join(line.split()) in printed, f"{block}\n{said}"


def test_every_block_of_these_pages_is_run_or_says_what_it_is() -> None:
    for document in DOCUMENTS:
        assert {block.language for block in blocks_of(document)} <= {*RUN, *SHOWN}, document
    first = {first_command(block) for document in DOCUMENTS for block in blocks_of(document)}
    assert set(NOT_RUN) <= first, "a block that is listed as not run is gone"
    targets = re.findall(r"^make (\w+)", "".join(block.text for block in blocks_of(README)), re.MULTILINE)
    done = subprocess.run(["make", "-n", *targets], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, targets) == (0, ["demo", "test"]), done.stderr


def test_the_readme_does_what_it_says(reader: Reader, database_url: str, broker_url: str) -> None:
    said = paste_all(reader, README, FLOWCERT_DATABASE_URL=database_url, FLOWCERT_BROKER_URL=broker_url)
    assert (reader.clone / "build" / "witness" / "witness.png").is_file()
    clip, model, dataset, cluster = said
    assert "MoveDown becomes MoveLeft" in clip
    assert "misclassified" not in model
    assert "certified" in dataset
    assert "done, 4 of 4 clips finished" in cluster


def test_the_tutorial_ends_with_a_report(reader: Reader) -> None:
    said = paste_all(reader, TUTORIAL)
    witness, summary = said[2], said[4]
    assert "MoveDown becomes MoveLeft" in witness
    assert "4 of 4 (100.0 %)  3 of 4 (75.0 %)  0 of 4 (0.0 %)" in summary
    assert (reader.clone / "build" / "tutorial" / "report" / "index.html").is_file()


def test_the_own_model_is_taken_apart(reader: Reader) -> None:
    said = paste_all(reader, OWN_MODEL)
    assert said[-1] == "factorised: True\n"
    spec = importlib.util.spec_from_file_location("my_factorised", reader.clone / "my_factorised.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    rng = np.random.default_rng(0)
    frames = rng.integers(0, 256, (8, 32, 32, 3)).astype(np.uint8)
    clip = PreparedClip(frames, rng.normal(size=(7, 2, 32, 32)).astype(np.float32), np.zeros((7, 32, 32), np.int32))

    def evaluator(model: torch.nn.Module) -> object:
        plain = PlainEvaluator(clip, model.eval().requires_grad_(requires_grad=False), 1.0, torch.device("cpu"), 16)
        return Workbench(Settings())._fast(plain, "my_factorised:Drift")

    assert isinstance(evaluator(module.Drift()), FactorisedEvaluator)
    # One whose parts are not its whole is refused.
    wrong = module.Drift()
    wrong.finish = lambda states: states[:, 1:2] @ wrong.ways.t()[:1]
    with pytest.raises(InputError, match="its encode and recurrence do not give what its forward gives"):
        evaluator(wrong)


def test_the_own_dataset_is_checked_and_trained_on(reader: Reader) -> None:
    said = paste_all(reader, OWN_DATASET)
    assert "8 of 24 groups validate" in said[-1]
    assert (reader.clone / "build" / "own.safetensors").is_file()
