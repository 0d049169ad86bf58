"""A device out of memory is given smaller batches: results are the same, and an error names what did not fit."""

from __future__ import annotations

import copy
import dataclasses
import re
from pathlib import Path
from random import Random

import numpy as np
import pytest
import sqlalchemy as sa
import torch

from common.errors import DeviceMemoryError
from common.game import ROOT
from common.settings import Settings
from common.vocab import TaskKind
from tests.harness import Service, check_clip
from tests.small_device import SmallFrames, SmallWhole
from tests.tiny import TinyGame, claim_of, draw_games
from worker.bench import Workbench
from worker.clip import PreparedClip
from worker.composed import ComposedFrames
from worker.factorised import FactorisedEvaluator
from worker.halving import release_memory
from worker.models import build
from worker.plain import PlainEvaluator
from worker.real_margins import RealMargins
from worker.tolerances import FLOAT32_BAND
from worker.work import carry_out

ARGS = {"classes": 3, "height": 9, "width": 12, "hidden": 8, "channels": [4, 6], "features": 8}
BATCH = 16
#: What torch says where a library has no memory, and what it says of other things that are wrong.
SHORT = (
    "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`",
    "cuDNN error: CUDNN_STATUS_ALLOC_FAILED",
    "cuDNN error: CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED",
    "CUDA error: out of memory\nCompile with `TORCH_USE_CUDA_DSA` to enable device-side assertions.",
)
NOT_SHORT = (
    "CUDA error: CUBLAS_STATUS_EXECUTION_FAILED when calling `cublasSgemm(handle)`",
    "cuDNN error: CUDNN_STATUS_INTERNAL_ERROR",
    "the model says: CUDNN_STATUS_ALLOC_FAILED",
)


def clip() -> PreparedClip:
    """A clip of 4 frames and 3 flows of 2x2 regions each."""
    rng = np.random.default_rng(0)
    frames = rng.integers(0, 256, (4, 9, 12, 3), dtype=np.uint8)
    labels = (np.arange(9)[:, None] // 5 * 2 + np.arange(12) // 6).astype(np.int32)
    return PreparedClip(frames, rng.normal(0, 2, (3, 2, 9, 12)).astype(np.float32), np.stack([labels] * 3))


def plain(module: torch.nn.Module) -> PlainEvaluator:
    return PlainEvaluator(clip(), module, 0.7, torch.device("cpu"), BATCH)


def pair(small: type[torch.nn.Module], most: int) -> tuple[PlainEvaluator, PlainEvaluator]:
    """The same weights with all memory and with little."""
    torch.manual_seed(1)
    roomy = build("cnn_lstm", ARGS).eval().requires_grad_(requires_grad=False)
    module = small(most=most, **ARGS).eval().requires_grad_(requires_grad=False)
    module.load_state_dict(roomy.state_dict())
    return plain(roomy), plain(module)


def points(many: int) -> list[tuple[tuple[int, int], ...]]:
    rng = np.random.default_rng(2)
    moved = [sorted(rng.choice(24, size=rng.integers(1, 4), replace=False)) for _ in range(many)]
    return [tuple((int(j), int(rng.choice([-2, -1, 1, 2]))) for j in some) for some in moved]


@pytest.mark.parametrize("most", [1, 3, 5])
def test_plain_batches_are_halved_until_they_fit(most: int) -> None:
    roomy, small = pair(SmallWhole, most)
    assert small.logits(points(40)) == pytest.approx(roomy.logits(points(40)), abs=FLOAT32_BAND / 10)


@pytest.mark.parametrize("said", SHORT)
def test_libraries_without_memory_of_their_own_are_given_halves(said: str) -> None:
    roomy, small = pair(SmallWhole, 3)
    small.module._said = said
    assert small.logits(points(40)) == pytest.approx(roomy.logits(points(40)), abs=FLOAT32_BAND / 10)
    assert small._batches.size == 2


@pytest.mark.parametrize("said", NOT_SHORT)
def test_no_other_error_is_taken_for_a_lack_of_memory(said: str) -> None:
    _, small = pair(SmallWhole, 3)
    small.module._said = said
    with pytest.raises(RuntimeError, match=re.escape(said)):
        small.logits(points(40))
    assert small._batches.size == BATCH


@pytest.mark.parametrize("most", [1, 3])
def test_real_changes_and_gradients_are_halved_until_they_fit(most: int) -> None:
    roomy, small = (RealMargins(evaluator, 1) for evaluator in pair(SmallWhole, most))
    moves = np.random.default_rng(3).normal(size=(10, 24))
    classes = np.array([-1, 0, 2] * 3 + [-1])
    assert small.margins(moves) == pytest.approx(roomy.margins(moves), abs=FLOAT32_BAND / 10)
    for found, wanted in zip(small.gradients(moves, classes), roomy.gradients(moves, classes), strict=True):
        assert np.allclose(found, wanted, atol=FLOAT32_BAND / 10)


def test_frames_are_halved_until_they_fit() -> None:
    roomy, small = pair(SmallFrames, 4)
    fast = FactorisedEvaluator(small, small.module, 2**24)
    small.module._most = 1
    assert fast.logits(points(40)) == pytest.approx(roomy.logits(points(40)), abs=FLOAT32_BAND / 10)


def test_a_device_without_memory_for_one_point_is_named_with_the_batch() -> None:
    _, small = pair(SmallWhole, 0)
    with pytest.raises(DeviceMemoryError, match=r"one of the points, where batches of 16 are wanted: CUDA out of.* 1 "):
        small.logits(points(40))


def test_frames_of_a_failed_warp_are_not_taken_for_others() -> None:
    """Out of memory in the middle of composing frames: asked again, the frames are those of the pairs asked for."""
    evaluator = pair(SmallWhole, 9)[1]
    composed = ComposedFrames(evaluator.clip.labels, torch.device("cpu"))
    changes = np.array([[1, 0, 0, 2, 0, 0, 0, 0]], np.int16)
    for flow in (0, 1, 2):
        fresh = ComposedFrames(evaluator.clip.labels, torch.device("cpu"))

        def fails(_flow: int, _steps: np.ndarray) -> torch.Tensor:
            raise torch.cuda.OutOfMemoryError

        for changed in (changes, 3 * changes):
            with pytest.raises(torch.cuda.OutOfMemoryError):
                composed.variants(flow, changed, fails)
            wanted = fresh.variants(flow, changed, evaluator._uniform)
            assert torch.equal(composed.variants(flow, changed, evaluator._uniform), wanted)


@pytest.fixture(scope="module")
def games(tmp_path_factory: pytest.TempPathFactory) -> list[TinyGame]:
    folder = tmp_path_factory.mktemp("games")
    return list(draw_games(Random(11), folder, folder / "cache", 4))


def on(small: type[torch.nn.Module], most: int, game: TinyGame) -> TinyGame:
    """The game, with its weights in a model for a small device."""
    given = {"name": f"tests.small_device:{small.__name__}", "args": {**game.spec.model.args, "most": most}}
    model = game.spec.model.model_copy(update=given)
    return dataclasses.replace(game, spec=game.spec.model_copy(update={"model": model}))


def test_whole_games_end_with_the_true_bounds_on_small_devices(
    engine: sa.Engine, database_url: str, broker_url: str, tmp_path: Path, games: list[TinyGame]
) -> None:
    """The service's own workers want batches of 2, 5 and 7 points; the devices have memory for one clip."""
    service = Service(engine, database_url, broker_url, tmp_path, Random(1))
    jobs = {}
    for number, game in enumerate(games):
        # A clip of these games has at most five frames, and the unchanged one is encoded whole in float64.
        small = on(SmallWhole, 1, game) if number % 2 else on(SmallFrames, game.spec.sampling.frames, game)
        jobs[service.submit(small.spec, small.video, small.label, 50)] = game
    service.run()
    for job, game in jobs.items():
        check_clip(engine, job, game.truth)


@pytest.mark.parametrize("kind", [TaskKind.PREPARE, TaskKind.ATTACK, TaskKind.ESTIMATE])
def test_a_task_that_does_not_fit_at_all_says_so_and_frees_what_it_held(
    tmp_path: Path, games: list[TinyGame], kind: TaskKind
) -> None:
    bench = Workbench(Settings(data_dir=tmp_path))
    claim = claim_of(on(SmallWhole, 0, games[0]), bench).model_copy(update={"kind": kind})
    with pytest.raises(DeviceMemoryError, match=r"cpu: .*CUDA out of memory"):
        carry_out(bench, claim, lambda: None, lambda: None)
    assert not bench._judges
    bench.model(claim.spec.model).module._said = NOT_SHORT[0]
    with pytest.raises(RuntimeError, match="EXECUTION_FAILED"):
        carry_out(bench, claim, lambda: None, lambda: None)


def test_a_model_is_loaded_once_for_all_tasks_of_its_job(tmp_path: Path, games: list[TinyGame]) -> None:
    bench, log = Workbench(Settings(data_dir=tmp_path)), tmp_path / "log"
    given = {"name": "tests.small_device:noted", "args": {**games[0].spec.model.args, "log": str(log)}}
    model = games[0].spec.model.model_copy(update=given)
    claim = claim_of(dataclasses.replace(games[0], spec=games[0].spec.model_copy(update={"model": model})), bench)
    loaded = bench.model(claim.spec.model)
    for kind in (TaskKind.PREPARE, TaskKind.ATTACK, TaskKind.ESTIMATE):
        carry_out(bench, claim.model_copy(update={"kind": kind}), lambda: None, lambda: None)
    assert len(log.read_text().split()) == 1
    assert bench.model(copy.deepcopy(claim.spec.model)) is loaded
    assert bench.judge(claim).plain.module is loaded.module
    assert np.isfinite(bench.judge(claim).fast.logits([ROOT])).all()


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here: CUDA's own shortage of memory is not met")
def test_a_gpu_short_of_memory_gives_what_small_batches_give() -> None:
    device, frames = torch.device("cuda"), np.random.default_rng(0).integers(0, 256, (4, 128, 128, 3), dtype=np.uint8)
    labels = np.stack([(np.arange(128)[:, None] // 64 * 2 + np.arange(128) // 64).astype(np.int32)] * 3)
    large = PreparedClip(frames, np.zeros((3, 2, 128, 128), np.float32), labels)
    module = build("cnn_lstm", {**ARGS, "height": 128, "width": 128}).eval().requires_grad_(requires_grad=False)
    few, many = (PlainEvaluator(large, module.to(device), 0.7, device, batch) for batch in (4, 4096))
    wanted = few.logits(points(4096))
    release_memory()
    # 4096 of these clips take 3 GiB.
    torch.cuda.set_per_process_memory_fraction(2**30 / torch.cuda.get_device_properties().total_memory)
    try:
        found = many.logits(points(4096))
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    assert many._batches.size < 4096
    assert found == pytest.approx(wanted, abs=FLOAT32_BAND / 10)
