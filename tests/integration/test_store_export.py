"""An export of many rows takes no more memory than one of few."""

import subprocess
import sys

import pytest

CODE = """
import resource, sys
from demur.store import PredictionRow, open_store

store = open_store(f"sqlite:///{sys.argv[1]}/{sys.argv[2]}.db")
store.migrate()
for start in range(0, int(sys.argv[2]), 1000):
    store.add_predictions([
        PredictionRow(request_id=f"r{number}", task="t", model="m", version="v", label="x", threat_score=0.5,
                      probabilities={"x": 1.0}, prompt=f"{number} " * 200, response=f"-{number}" * 200)
        for number in range(start, start + 1000)
    ])
assert store.export(f"{sys.argv[1]}/out.parquet") == int(sys.argv[2])
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)
"""


@pytest.mark.slow
def test_memory_does_not_grow_with_the_rows(tmp_path):
    peaks = [
        int(
            subprocess.run(
                [sys.executable, "-c", CODE, tmp_path, str(rows)], capture_output=True, check=True
            ).stdout
        )
        for rows in (20_000, 100_000)
    ]
    assert peaks[1] - peaks[0] < 60, f"{peaks} MB"
