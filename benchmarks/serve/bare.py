"""Bare calls of the model on one row after the other, in a process of their own. See README.md.

python benchmarks/serve/bare.py FOLDER BODIES.jsonl SECONDS MAX_TOKENS
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from transformers import pipeline
from transformers.utils import logging

from demur.data import Records
from demur.models import load_onnx

BLOCK = 25
"""Rows that a contender judges before it is the next one's turn, so that all meet the same machine."""

logging.set_verbosity_error()
folder, bodies, seconds, max_tokens = Path(sys.argv[1]), Path(sys.argv[2]), float(sys.argv[3]), int(sys.argv[4])
onnx = load_onnx(folder, threads=1)
pipe: Any = pipeline("text-classification", model=str(folder), tokenizer=str(folder), device="cpu")
inputs = [json.loads(line)["input"] for line in bodies.read_text(encoding="utf-8").splitlines()]
records = [Records.from_texts([one["prompt"]], [one["response"]]) for one in inputs]
pairs = [{"text": one["prompt"], "text_pair": one["response"]} for one in inputs]


def run_pipeline(row: int) -> None:
    pipe(pairs[row], truncation="only_second", max_length=max_tokens, top_k=None)


calls: dict[str, Callable[[int], Any]] = {
    "pass": lambda row: onnx.predict_proba(records[row]),
    "predict": lambda row: onnx.predict([inputs[row]]),
    "pipeline": run_pipeline,
}
for call in calls.values():
    for row in range(BLOCK):
        call(row)
latencies: dict[str, list[float]] = {name: [] for name in calls}
until = time.perf_counter() + seconds
while time.perf_counter() < until:
    for name, call in calls.items():
        told = latencies[name]
        for _ in range(BLOCK):
            row = len(told) % len(inputs)
            started = time.perf_counter()
            call(row)
            told.append(time.perf_counter() - started)
print(json.dumps(latencies))
