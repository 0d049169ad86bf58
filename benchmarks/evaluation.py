"""Evaluates the bundled models on UCF101's test clips that are at hand, through the command line, and writes it down.

``make evaluation`` runs each job on servers of its own below build/evaluation, and writes build/evaluation.json,
docs/evaluation.md from benchmarks/evaluation.md, and the picture of the convergence in the paper's mode.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks.convergence import draw_convergence

DATA = Path(os.environ.get("FLOWCERT_UCF101", "../shared/data/ucf101"))
HOME = Path("build/evaluation")
SMALL = ["--model", "cnn_lstm", "--weights", "examples/ucf101_7_cnn_lstm.safetensors"]
REAL_SIZE = [
    "--model", "efficientnet_lite0_lstm", "--weights", "examples/ucf101_7_efficientnet_lite0_lstm.safetensors",
]  # fmt: skip
L2 = ["--norm", "L2", "--tau", "1"]
#: Root mean square displacement, in pixels, at which the certified share is reported in the short figures.
DISPLACEMENT = 0.25
#: What ends an attack is its number of gradients, so that its bounds are the same however fast the machine is.
SMALL_GRADIENTS, REAL_SIZE_GRADIENTS = ["--gradients", "250"], ["--gradients", "40"]
#: Time limit of a task, in seconds: far beyond what so many gradients take.
TASK_SECONDS = 120
JOBS = {
    "global": [*SMALL, *L2, "--features", "global", "--radius", "2000", "--budget", "200000", *SMALL_GRADIENTS],
    "grid2x2": [*SMALL, *L2, "--features", "grid:2x2", "--radius", "2000", "--budget", "200000", *SMALL_GRADIENTS],
    "continuous": [
        *SMALL, *L2, "--features", "grid:2x2", "--radius", "2000", "--budget", "1000", "--per-class", "1",
        "--continuous", "--lipschitz", "estimated", *SMALL_GRADIENTS,
    ],
    "real_size": [
        *REAL_SIZE, *L2, "--features", "global", "--radius", "4000", "--budget", "5000", "--per-class", "1",
        *REAL_SIZE_GRADIENTS,
    ],
    "paper": ["--config", "examples/paper.yaml", *SMALL, "--per-class", "1"],
    "paper_real_size": [
        "--config", "examples/paper.yaml", *REAL_SIZE,
        "--class", "Basketball", "--class", "JumpingJack", "--per-class", "1",
    ],
}  # fmt: skip


@dataclass(frozen=True)
class Outcome:
    """What the command line says of a finished job."""

    summary: dict[str, Any]
    results: list[dict[str, Any]]
    trace: list[dict[str, Any]]
    minutes: float  #: of the clock, with two workers


def main() -> None:
    """Run every job and write the figures, the document and the picture."""
    if not DATA.is_dir():
        raise SystemExit(f"{DATA}: UCF101's clips are not there; set FLOWCERT_UCF101 to their folder")
    shutil.rmtree(HOME, ignore_errors=True)
    HOME.mkdir(parents=True)
    done = {name: run(name, options) for name, options in JOBS.items()}
    figures = figures_of(done)
    Path("build/evaluation.json").write_text(json.dumps(figures, indent=2, allow_nan=False) + "\n")
    paper = done["paper"]
    draw_convergence(paper.trace, paper.results[0]["norm"], Path("docs/pictures/paper_convergence.png"))
    template = Path("benchmarks/evaluation.md").read_text(encoding="utf-8")
    Path("docs/evaluation.md").write_text(template.format(**shown(done, figures)), encoding="utf-8")
    print(json.dumps(figures, indent=2))


def run(name: str, options: list[str]) -> Outcome:
    """Run one job to its end."""
    print(f"job {name}", flush=True)
    begun = time.monotonic()
    flowcert("run", str(DATA), "--split", "testlist01", *options, show=True)
    minutes = (time.monotonic() - begun) / 60
    summary, results, trace = (json.loads(flowcert(word, "--json")) for word in ("summary", "results", "trace"))
    outcome = Outcome(summary, results, trace, minutes)
    (HOME / f"{name}.json").write_text(json.dumps(asdict(outcome)))
    return outcome


def flowcert(*arguments: str, show: bool = False) -> str:
    """Run a command; its notes go to the terminal when they are to be shown."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith("FLOWCERT_")}
    settings = {"FLOWCERT_DATA_DIR": str(HOME.absolute() / "data"), "FLOWCERT_TASK_SECONDS": str(TASK_SECONDS)}
    done = subprocess.run(
        [sys.executable, "-m", "scheduler.cli.main", *arguments], env={**environment, **settings},
        stdout=subprocess.PIPE, stderr=None if show else subprocess.PIPE, text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        raise SystemExit(f"flowcert {' '.join(arguments)} ended with {done.returncode}\n{done.stderr or ''}")
    return done.stdout


def figures_of(done: dict[str, Outcome]) -> dict[str, float]:
    """The short figures."""
    whole = done["global"].summary
    return {
        "clips": whole["evaluated"],
        "correct": whole["correct"],
        "median_gap_global": whole["ratio_median"],
        "median_gap_grid2x2": done["grid2x2"].summary["ratio_median"],
        "solved_share_global": whole["solved_share"],
        "seconds_per_clip": whole["seconds_mean"],
        "certified_share": certified(done["global"], "FMSR", "grid", DISPLACEMENT),
        "minutes": sum(outcome.minutes for outcome in done.values()),
    }


def certified(outcome: Outcome, measure: str, guarantee: str, displacement: float) -> float:
    """Share of all evaluated clips that are certified at a displacement, in pixels root mean square."""
    (found,) = [
        row["share"]
        for row in outcome.summary["certified_share"]
        if (row["measure"], row["guarantee"], row["displacement"]) == (measure, guarantee, displacement)
    ]
    return float(found)


def shown(done: dict[str, Outcome], figures: dict[str, float]) -> dict[str, str]:
    """Every number and table of the document, by the name it has in the template."""
    fields = {f"{name}_{key}": _text(value) for name, outcome in done.items() for key, value in _numbers(outcome)}
    fields |= {key: _text(value) for key, value in figures.items()}
    fields |= {f"{name}_minutes": f"{outcome.minutes:.1f}" for name, outcome in done.items()}
    fields |= {f"{name}_expected": _expected(outcome) for name, outcome in done.items()}
    fields |= {f"{name}_shares": _shares(outcome) for name, outcome in done.items()}
    fields["groups"] = _text(done["global"].summary["bootstrap"]["groups"])
    fields["classes"] = _classes(done["global"], done["grid2x2"])
    for name in ("continuous", "real_size", "paper", "paper_real_size"):
        fields[f"{name}_clips_table"] = _clips(done[name])
    return fields


def _numbers(outcome: Outcome) -> list[tuple[str, Any]]:
    return [(key, value) for key, value in outcome.summary.items() if not isinstance(value, (list, dict))]


def _text(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    return "none" if value is None else str(value)


def _expected(outcome: Outcome) -> str:
    """Expected radii with their intervals, as a table in Markdown."""
    lines = ["| expected | guarantee | at least, px | 95 % | at most, px | 95 % |", "|---|---|---|---|---|---|"]
    for row in outcome.summary["expected"]:
        sides = [_estimate(row[side]) for side in ("lower", "upper")]
        lines.append(f"| {row['measure']} | {row['guarantee'] or ''} | {' | '.join(sides)} |")
    return "\n".join(lines)


def _estimate(side: dict[str, Any] | None) -> str:
    if side is None:
        return "unknown | "
    low, high = side["low"], side["high"]
    return f"{side['mean']:.4g} | {'' if low is None else f'{low:.4g} to {high:.4g}'}"


def _shares(outcome: Outcome) -> str:
    rows = outcome.summary["certified_share"]
    shares = sorted({row["displacement"] for row in rows})
    heads = " | ".join(f"≥ {px:g} px rms" for px in shares)
    lines = [f"| certified | {heads} |", "|---" * (1 + len(shares)) + "|"]
    for measure, guarantee in sorted({(row["measure"], row["guarantee"]) for row in rows}):
        found = {row["displacement"]: row for row in rows if (row["measure"], row["guarantee"]) == (measure, guarantee)}
        cells = [f"{found[px]['certified']} of {found[px]['evaluated']}" for px in shares]
        lines.append(f"| {measure} `{guarantee}` | {' | '.join(cells)} |")
    return "\n".join(lines)


def _classes(first: Outcome, second: Outcome) -> str:
    lines = [
        "| class | clips | correct | `global` lower | `global` upper | `grid:2x2` lower | `grid:2x2` upper |",
        "|---|---|---|---|---|---|---|",
    ]
    other = {row["label"]: row for row in second.summary["classes"]}
    for row in first.summary["classes"]:
        medians = ("fmsr_lower_median", "fmsr_upper_median")
        sides = [_px(each[key]) for each in (row, other[row["label"]]) for key in medians]
        lines.append(f"| {row['label']} | {row['evaluated']} | {row['correct']} | {' | '.join(sides)} |")
    return "\n".join(lines)


def _clips(outcome: Outcome) -> str:
    lines = [
        "| clip | verdict | FMSR ≥ | FMSR ≤ | MSR ≥ `continuous` | MSR ≥ `lipschitz` | MSR ≤ | points | seconds |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for row in outcome.results:
        keys = ("fmsr_lower", "fmsr_upper", "certified_radius", "constant_lower", "msr_upper")
        bounds = [_px(row[key]) for key in keys]
        lines.append(
            f"| {Path(row['video']).stem} | {row['verdict']} | {' | '.join(bounds)} "
            f"| {row['points_explored']:,} | {row['seconds']:.0f} |"
        )
    return "\n".join(lines)


def _px(value: Any) -> str:
    if value is None:
        return "?"
    return "∞" if value == "inf" else f"{value:.4g}"


if __name__ == "__main__":
    main()
