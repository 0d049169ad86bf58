"""Options and configuration files have the same fields; each problem is named where the user wrote it."""

from decimal import Decimal
from pathlib import Path

import numpy as np
import pytest

from common.errors import InputError
from common.features import parse_partition
from common.jobspec import FarnebackSpec, JobSpec, ModelSpec, SamplingSpec
from scheduler.intake.classes import read_classes
from scheduler.intake.config import read_every, read_request
from scheduler.intake.model import ModelAnswer
from scheduler.intake.spec import build_spec, check_game, region_sizes

OPTIONS = {
    "dataset": "data", "model": "cnn_lstm", "weights": "w.safetensors",
    "features": "global", "norm": "L2", "tau": "0.1", "radius": "60",
}  # fmt: skip


def test_options_alone_make_a_job():
    config = read_request({**OPTIONS, "model_args": '{"hidden": 8}', "classes": "A, B", "size": "32x48"}, None).config
    assert config.tau == Decimal("0.1")
    assert config.model_args == {"hidden": 8}
    assert config.classes == ("A", "B")
    assert config.height_width == (32, 48)
    assert config.budget == 200_000


@pytest.mark.parametrize(
    ("written", "seconds"),
    [("90", 90), ("90s", 90), ("1.5m", 90), ("8h", 28_800), ("2d", 172_800), (45, 45), (None, None)],
)
def test_a_duration_has_a_unit_or_is_in_seconds(written, seconds):
    assert read_request({**OPTIONS, "wall_time": written}, None).config.wall_time == seconds


def test_a_file_with_paths_of_its_own_and_options_that_override_it(tmp_path: Path):
    file = tmp_path / "job.yaml"
    (tmp_path / "names.txt").write_text("1 Apply Lipstick\r\n2 Archery\r\n")
    file.write_text(
        "dataset: clips\nweights: w.safetensors\nclasses: names.txt\nclass: Archery\n"
        "model: cnn_lstm\nfeatures: grid:2x2\nnorm: L1\ntau: 0.1\nradius: 5\n"
    )
    request = read_request({"radius": "7", "norm": None}, file)
    config = request.config
    assert (config.dataset, config.weights) == (str(tmp_path / "clips"), str(tmp_path / "w.safetensors"))
    assert config.classes == ("Apply Lipstick", "Archery")
    assert config.only == ("Archery",)
    assert (config.tau, config.radius) == (Decimal("0.1"), Decimal(7))
    assert (request.at("radius"), request.at("tau"), request.at("cap")) == ("--radius", f"{file}: tau", "--cap")


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ({"tau": "-1"}, "--tau: input should be greater than 0 (given: '-1')"),
        ({"tau": "nan"}, "--tau: input should be a finite number (given: 'nan')"),
        ({"radius": "0"}, "--radius: input should be greater than 0 (given: '0')"),
        ({"features": "grid:0x2"}, "--features: 'grid:0x2' is not one of"),
        ({"norm": "L3"}, "--norm: input should be 'L1', 'L2' or 'Linf' (given: 'L3')"),
        ({"model_args": "[1"}, "--model-args: is not a JSON object"),
        ({"model_args": '{"x": NaN}'}, "--model-args: is not a JSON object"),
        ({"classes": "A,A"}, "--classes: a class is named twice"),
        ({"classes": "A"}, "--classes: 'A' is neither a file nor"),
        ({"size": "32"}, "--size: string should match"),
        ({"weights": None}, "--weights: is required"),
        ({"dataset": None}, "DATASET: is required"),
        ({"norm": None, "radius": None}, "--norm, --radius: are required"),
        ({"clip_seconds": 0.0}, "--clip-seconds: input should be greater than 0"),
        ({"clip_seconds": float("nan")}, "--clip-seconds: input should be "),
        ({"wall_time": "0h"}, "--wall-time: input should be greater than 0"),
        ({"wall_time": "soon"}, "--wall-time: 'soon' is no duration, such as 90s, 30m, 1.5h or 2d"),
        ({"wall_time": "-5m"}, "--wall-time: '-5m' is no duration"),
        ({"priority": 1001}, "--priority: input should be less than or equal to 1000"),
        ({"budget": 0}, "--budget: input should be greater than or equal to 1"),
        ({"every": "0"}, "--every: input should be greater than 0 (given: '0')"),
        ({"every": "nan"}, "--every: input should be a finite number (given: 'nan')"),
        ({"every": "1 s"}, "--every: input should be a valid decimal (given: '1 s')"),
        ({"tau": "1e-999999999"}, "--tau: must be below 1e13 and have at most 28 digits and 40 decimal places"),
        ({"radius": "1e999999999"}, "--radius: must be below 1e13"),
        ({"tau": "0." + "1" * 29}, "--tau: must be below 1e13"),
        ({"lipschitz": "1e-999999999"}, "--lipschitz: is neither"),
        ({"features": "grid:" + "9" * 5000 + "x1"}, "--features: 'grid:999"),
        ({"model_args": "[" * 100_000}, "--model-args: is not a JSON object"),
        ({"dataset": "a\0b"}, "DATASET: has unprintable characters (given: 'a\\x00b')"),
        ({"dataset": "~nobody-of-this-name/x"}, "DATASET: '~nobody-of-this-name/x' names the home folder of a user"),
        ({"weights": "w\x1b[31m.pt"}, "--weights: has unprintable characters"),
        ({"classes": "A,B\u202e"}, "--classes: 1: has unprintable characters"),
        ({"classes": "x" * 5000}, "--classes: 'xxx"),
        ({"every": "1", "stride": 25}, "--every: cannot be given together with --stride 25; leave out one of them"),
    ],
)
def test_a_wrong_option_is_named(change, line):
    with pytest.raises(InputError) as refused:
        read_request({**OPTIONS, **change}, None)
    assert str(refused.value).startswith(line)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("tau: -1", "tau: input should be greater than 0"),
        ("taus: 1", "taus: is no field of a job"),
        ("tau: .nan", "tau: input should be a finite number"),
        ("model_args: {when: 2026-01-01}", "model_args: is not a JSON object"),
        ("- tau", "must hold fields"),
        ("a: [", "is not YAML"),
        ("tau: &a 1\nradius: *a", "anchors and aliases are not read"),
        ("model_args: &a {a: *a}", "anchors and aliases are not read"),
        ("only: " + "[" * 10_000, "more than 32 levels of nesting"),
        ("budget: " + "1" * 5000, "is not YAML: Exceeds the limit"),
        (
            "tau: 1\nbudget: 0x" + "f" * 5000,
            "budget: input should be less than 9223372036854775808 (given: int, too large",
        ),
        ("tau: " + "1:" * 3000 + "1", "tau: must be below 1e13"),
        ("priority: 2001-99-99", "is not YAML: month must be"),
        ("priority: !!timestamp x", "is not YAML"),
        ("label: '" + "x" * 70_000 + "'", "has more than 65536 bytes; that is no configuration"),
    ],
)
def test_a_wrong_file_is_named(tmp_path, text, problem):
    file = tmp_path / "job.yaml"
    file.write_text(text)
    options = {key: value for key, value in OPTIONS.items() if key != "tau"}
    with pytest.raises(InputError) as refused:
        read_request(options, file)
    assert str(file) in str(refused.value)
    assert problem in str(refused.value)
    assert "\n" not in str(refused.value)
    assert len(str(refused.value)) < 1000


def test_a_file_of_class_names_is_text_of_limited_size(tmp_path):
    (tmp_path / "names").write_bytes(b"\xff")
    with pytest.raises(InputError, match="names: is not UTF-8 text"):
        read_classes(str(tmp_path / "names"))
    (tmp_path / "names").write_bytes(b"x\n" * 2**20)
    with pytest.raises(InputError, match="has more than 1048576 bytes"):
        read_classes(str(tmp_path / "names"))


def test_a_pause_stands_in_a_file_as_well(tmp_path):
    file = tmp_path / "job.yaml"
    file.write_text("every: 0.1\n")
    assert read_request(OPTIONS, file).config.every == Decimal("0.1")
    assert read_request({**OPTIONS, "every": "2.50"}, file).config.every == Decimal("2.5")
    with pytest.raises(InputError, match=rf"^{file}: every: cannot be given together with --stride 3"):
        read_request({**OPTIONS, "stride": 3}, file)


def test_a_pause_for_the_check_of_a_dataset_is_read_as_one_for_a_job():
    assert read_every("0.50") == Decimal("0.5")
    with pytest.raises(InputError, match=r"^--every: input should be less than or equal to 86400"):
        read_every("100000")


@pytest.mark.parametrize(
    ("saved", "given", "stride", "every"),
    [
        (None, {}, None, None),
        (None, {"every": "0.5"}, None, "0.5"),
        ("1", {}, None, "1"),
        ("1", {"every": "0.5"}, None, "0.5"),
        ("1", {"stride": 3}, 3, None),
    ],
)
def test_the_weights_name_the_pause_unless_the_user_does(monkeypatch, saved, given, stride, every):
    answer = ModelAnswer(sha256="0" * 64, classes=("A", "B"), args={}, frames=4, height=32, width=32, every=saved)
    monkeypatch.setattr("scheduler.intake.spec.check_model", lambda *_: answer)
    sampling = build_spec(read_request({**OPTIONS, **given}, None)).sampling
    assert (sampling.stride, sampling.every) == (stride, None if every is None else Decimal(every))


def test_class_names_may_begin_with_digits(tmp_path):
    (tmp_path / "names").write_text("3\n1 2x\n")
    assert read_classes(str(tmp_path / "names")) == ("3", "2x")


def job(**change) -> JobSpec:
    fields = {
        "dataset": "/d",
        "model": ModelSpec(name="cnn_lstm", weights="/w", classes=("A", "B"), sha256="0" * 64),
        "sampling": SamplingSpec(frames=4, height=32, width=32),
        "flow": FarnebackSpec(),
        "features": "global", "norm": "L2", "tau": "1", "radius": "33",
    }  # fmt: skip
    return JobSpec.model_validate({**fields, **change})


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"features": "grid:33x1"}, "features"),
        ({"features": "superpixel:1025"}, "features"),
        ({"radius": "31.9"}, "radius"),
        ({"features": "pixel", "radius": "300"}, "radius"),
        ({"features": "grid:4x4", "norm": "Linf"}, "norm"),
        # Counted by steps of numpy, these would take hours; and more memory than there is.
        ({"features": "global", "norm": "L1", "radius": "10000000000"}, "radius"),
        ({"features": "pixel", "norm": "Linf", "sampling": {"frames": 64, "height": 512, "width": 512}}, "norm"),
        ({"features": "pixel", "sampling": {"frames": 1024, "height": 1024, "width": 1024}}, "features"),
    ],
)
def test_games_that_cannot_be_explored_are_refused(change, field):
    with pytest.raises(InputError) as refused:
        check_game(job(**change))
    assert refused.value.where == field


@pytest.mark.parametrize(
    "change", [{}, {"radius": "32"}, {"features": "superpixel:1024", "radius": "1"}, {"features": "grid:32x1"}]
)
def test_games_that_can_be_explored_pass(change):
    check_game(job(**change))


@pytest.mark.parametrize("text", ["global", "grid:1x1", "grid:3x5", "grid:7x9", "pixel"])
def test_regions_are_those_the_workers_make(text):
    from worker.features.regions import label_regions
    from worker.features.regions import region_sizes as measured

    flow = np.zeros((1, 2, 7, 9), np.float32)
    assert [region_sizes(parse_partition(text), 7, 9)] == measured(label_regions(parse_partition(text), flow))


@pytest.mark.parametrize("given", ["guessed", "0", "-1", "nan", "inf", ""])
def test_a_lipschitz_constant_is_a_positive_number_or_estimated(given):
    with pytest.raises(InputError, match=r"^--lipschitz: is neither 'estimated' nor a positive number"):
        read_request({**OPTIONS, "lipschitz": given}, None)
    assert read_request({**OPTIONS, "lipschitz": "estimated"}, None).config.lipschitz == "estimated"
    assert read_request({**OPTIONS, "lipschitz": "0.25"}, None).config.lipschitz == Decimal("0.25")


def test_the_paper_s_settings_are_a_job_file():
    file = Path(__file__).parents[3] / "examples" / "paper.yaml"
    config = read_request({"dataset": "clips"}, file).config
    assert (config.model, config.flow, config.norm, config.gradients) == ("vgg16_lstm", "farneback", "L2", 20)
    assert (config.lipschitz, config.heuristic) == ("estimated", True)
    # A thousand expansions of a node with all of its children: two signs of 30 coordinates, and one step deeper.
    assert config.budget == pytest.approx(1000 * 61, rel=0.02)
