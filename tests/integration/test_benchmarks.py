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
