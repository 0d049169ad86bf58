"""Real clips of UCF101 are certified with the example's model; skipped, with the reason, where they are not at hand."""

import math
import os
from pathlib import Path

import pytest

from tests.acceptance.conftest import ROOT, options

pytestmark = pytest.mark.acceptance
FOLDER = Path(os.environ.get("FLOWCERT_UCF101", ROOT.parent / "shared" / "data" / "ucf101"))
#: Test clips of official split 1; the model takes the first for another class.
CLIPS = (
    "Basketball/v_Basketball_g04_c02.avi",
    "Biking/v_Biking_g02_c01.avi",
    "JumpingJack/v_JumpingJack_g02_c01.avi",
    "PullUps/v_PullUps_g03_c01.avi",
)
#: One move of a whole 64x64 frame costs 64 px, two cost 90.5 px. The budget is spent by what costs less than two.
GAME = {
    "model": "cnn_lstm", "weights": ROOT / "examples" / "ucf101_cnn_lstm.safetensors",
    "features": "global", "norm": "L2", "tau": 1, "radius": 91, "budget": 500,
}  # fmt: skip


@pytest.fixture
def real_clips(tmp_path: Path) -> Path:
    missing = [name for name in CLIPS if not (FOLDER / name).is_file()]
    if missing:
        pytest.skip(f"{FOLDER} has no {missing[0]}; set FLOWCERT_UCF101 to UCF101's folder of <Class>/<clip>.avi")
    file = tmp_path / "clips.txt"
    file.write_text("".join(f"{name}\n" for name in CLIPS))
    return file


def test_real_clips_get_positive_lower_bounds_and_replayed_upper_bounds(home, real_clips):
    done = home.flowcert("run", real_clips, "--root", FOLDER, "--workers=2", *options(GAME))
    assert done.returncode == 0, done.stderr
    rows = home.rows("results")
    wrong, *right = rows
    assert (wrong["verdict"], wrong["fmsr_lower"], wrong["msr_upper"]) == ("misclassified", None, None)
    assert wrong["predicted"] != wrong["label"]
    witnesses = home.query("SELECT video_id, cost, replayed, margin FROM witnesses")
    for row in right:
        assert row["predicted"] == row["label"]
        assert row["verdict"] in ("open", "solved", "robust")
        # All single moves were tried, and none changed the answer.
        assert row["fmsr_lower"] == math.sqrt(2) * 64
        assert row["points_explored"] == 1 + 30 * 2
        assert row["points_total"] == 1 + 30 * 2 + math.comb(30, 2) * 2 * 2
        own = [witness for witness in witnesses if witness["video_id"] == row["video_id"] and witness["replayed"]]
        assert all(witness["margin"] < 0 for witness in own)
        assert row["upper_cost"] == min((witness["cost"] for witness in own), default=None)
    # The attack finds what two moves do to the clip with the smallest margin.
    assert [row["verdict"] for row in right] == ["open", "solved", "open"]
    assert right[1]["fmsr_upper"] == right[1]["fmsr_lower"]
