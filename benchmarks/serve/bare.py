"""The bare call of the model: one row after the other, as the guard loads it. See README.md.

python benchmarks/serve/bare.py FOLDER BODIES.jsonl SECONDS
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

from demur.models import load_onnx

folder, bodies, seconds = Path(sys.argv[1]), Path(sys.argv[2]), float(sys.argv[3])
classifier = load_onnx(folder, threads=1)
rows = [json.loads(line)["input"] for line in bodies.read_text(encoding="utf-8").splitlines()]
for row in rows[:20]:
    classifier.predict([row])
latencies: list[float] = []
until = time.perf_counter() + seconds
while time.perf_counter() < until:
    row = rows[len(latencies) % len(rows)]
    started = time.perf_counter()
    classifier.predict([row])
    latencies.append(time.perf_counter() - started)
print(json.dumps({"latencies": latencies}))
