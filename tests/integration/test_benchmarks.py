"""Scripts of benchmarks run from end to end on next to nothing; what they measure is for a quiet machine."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.mark.slow
def test_a_cell_with_checkpoints_gives_the_weights_of_separate_runs(tmp_path):
    before = {path: path.read_bytes() for path in (BENCHMARKS / "grid_cell").glob("result.*")}
    done = subprocess.run(
        [sys.executable, str(BENCHMARKS / "grid_cell" / "run.py"), "--tiny", "--rounds", "1"],
        env=os.environ | {"DEMUR_CACHE": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    result = json.loads(done.stdout[done.stdout.index("{\n") :])
    assert result["same_weights"]
    assert result["share_of_steps"] == pytest.approx(8 / 14, abs=1e-3)
    assert set(result["cpu_s"]) == {"one cell", "separate runs"}
    assert before == {path: path.read_bytes() for path in (BENCHMARKS / "grid_cell").glob("result.*")}


@pytest.mark.slow
def test_sequential_tests_are_measured_and_the_naive_one_fails(tmp_path):
    """Few and short runs: the drops need more, so the script says that not every bound was met."""
    script = str(BENCHMARKS / "sequential" / "run.py")
    given = ["--runs", "60", "--rows", "3000", "--out", str(tmp_path)]
    done = subprocess.run([sys.executable, script, *given], capture_output=True, text=True, check=False)
    assert done.returncode == 1, done.stderr[-2000:]
    found = json.loads((tmp_path / "result.json").read_text(encoding="utf-8"))["sections"]
    assert found["checked_runs"] == 12
    shares = {name: one["share"] for name, one in found.items() if name.startswith("aa/")}
    assert all(value <= 0.07 for name, value in shares.items() if not name.endswith(("naive", "msprt")))
    assert all(value > 0.15 for name, value in shares.items() if name.endswith("naive"))
    assert found["drop/0.99/0.94/even"]["power"]["5000"]["share"] > 0.98
    page = (tmp_path / "result.md").read_text(encoding="utf-8")
    assert "False positives when both arms are the same" in page
    again = subprocess.run([sys.executable, script, *given], capture_output=True, text=True, check=False)
    assert again.stdout.endswith(page + "\n")  # nothing is done twice
    assert "aa/0.01/even:" not in again.stdout


@pytest.mark.slow
def test_poisoned_feedback_is_measured(tmp_path):
    """One scenario on the starter corpus, whose golden set is too small to show anything."""
    done = subprocess.run(
        [
            *(sys.executable, str(BENCHMARKS / "retrain_poison" / "run.py")),
            *("--scenarios", "1", "--model", "tfidf_nb", "--out", str(tmp_path)),
        ],
        env={name: value for name, value in os.environ.items() if name != "DEMUR_REAL_DATA"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    (found,) = json.loads((tmp_path / "result.json").read_text(encoding="utf-8"))["scenarios"]
    assert (found["turned"], found["unconfirmed"]) == (0, 0)
    assert found["trained_on"] > 50
    assert "0% turned, 1 key(s), unguarded" in (tmp_path / "result.md").read_text(encoding="utf-8")
