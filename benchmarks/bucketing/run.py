"""Rate of training with length buckets and dynamic padding against padding to max_length; see README.md.

    python benchmarks/bucketing/run.py [--rows 320] [--rounds 2] [--shuffled] [--cores 1]

With DEMUR_REAL_DATA naming the folder of refusal.jsonl, its responses are used; else neutral generated ones.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
MIN_SPEEDUP = 1.8
BATCH_SIZE = 16
CONTENDERS: dict[str, dict[str, Any]] = {
    "max_length": {"padding": "max_length", "bucketing": False},
    "dynamic + bucketing": {"padding": "dynamic", "bucketing": True},
}
SHUFFLED: dict[str, dict[str, Any]] = {"dynamic": {"padding": "dynamic", "bucketing": False}}
FILLER = "it is a matter of patience and of good light so begin early and keep notes on what you see"


def read_rows(count: int) -> tuple[list[dict[str, str]], str]:
    real = os.environ.get("DEMUR_REAL_DATA")
    if real:
        with (Path(real) / "refusal.jsonl").open(encoding="utf-8") as lines:
            found = [json.loads(line) for line in lines]
        labels = ("no_refusal", "hard_refusal", "soft_refusal")
        rows = [{"response": row["response"], "refusal": row["label"]} for row in found if row["label"] in labels]
    else:
        rows = neutral_rows(4 * count)
    random.Random(0).shuffle(rows)
    return rows[:count], "real" if real else "generated"


def neutral_rows(count: int) -> list[dict[str, str]]:
    """Made-up answers whose lengths spread like real ones: many short, many as long as the limit."""
    draw, words = random.Random(0), FILLER.split()
    rows = []
    for number in range(count):
        length = draw.choice((draw.randint(20, 60), draw.randint(60, 200), draw.randint(180, 260)))
        text = " ".join(draw.choice(words) for _ in range(length))
        rows.append({"response": text, "refusal": ("no_refusal", "hard_refusal", "soft_refusal")[number % 3]})
    return rows


def encode(rows: list[dict[str, str]], max_tokens: int) -> tuple[Any, Any, Path]:
    """The data set, its collator, and the folder of the encoder."""
    import numpy as np
    from transformers import AutoModel

    from demur.models._encoder import input_names, load_tokenizer, resolve_model
    from demur.tasks import REFUSAL
    from demur.training import PadCollator, RowEncoder, TokenDataset, TokenLimits

    folder = resolve_model("embedded:minilm")
    tokenizer = load_tokenizer(folder)
    encoder = RowEncoder(tokenizer.backend_tokenizer, TokenLimits(max_tokens=max_tokens))
    encoded = encoder.encode([[row["response"] for row in rows]], ["response"])
    targets = np.array([REFUSAL.label_id(row["refusal"]) for row in rows])
    names = input_names(AutoModel.from_pretrained(str(folder)), tokenizer)
    return TokenDataset(encoded, targets), PadCollator(int(tokenizer.pad_token_id), names), Path(folder)


def train_once(folder: Path, dataset: Any, collator: Any, settings: dict[str, Any], max_tokens: int) -> Any:
    """One epoch from the same weights: wall seconds, CPU seconds, tokens with padding."""
    from transformers import AutoModel

    from demur.models.transformer._module import PooledClassifier
    from demur.training import TrainConfig, TrainSetup, seeded, train_classifier

    with seeded(0):
        module = PooledClassifier(AutoModel.from_pretrained(str(folder)), 3, 0.1)
    counted = [0]
    module.encoder.register_forward_pre_hook(
        lambda _, args, named: counted.append(named["input_ids"].numel()), with_kwargs=True
    )
    config = TrainConfig(epochs=1, batch_size=BATCH_SIZE, device="cpu", **settings)
    wall, cpu = time.perf_counter(), time.process_time()
    train_classifier(module, dataset, None, config, 0, TrainSetup(3, collator, max_tokens=max_tokens))
    return time.perf_counter() - wall, time.process_time() - cpu, sum(counted)


def measure(options: argparse.Namespace) -> dict[str, Any]:
    rows, texts = read_rows(options.rows)
    dataset, collator, folder = encode(rows, options.max_tokens)
    train_once(folder, dataset_head(dataset, BATCH_SIZE), collator, CONTENDERS["max_length"], options.max_tokens)
    contestants = (SHUFFLED if options.shuffled else {}) | CONTENDERS
    found: dict[str, list[tuple[float, float, int]]] = {name: [] for name in contestants}
    for _ in range(options.rounds):
        for name, settings in contestants.items():
            found[name].append(train_once(folder, dataset, collator, settings, options.max_tokens))
    first = found["max_length"]
    contenders = [
        {
            "contender": name,
            "rows_per_s": round(len(rows) / min(wall for wall, _, _ in runs), 2),
            "speedup": round(min(wall for wall, _, _ in first) / min(wall for wall, _, _ in runs), 2),
            "speedup_cpu_time": round(min(cpu for _, cpu, _ in first) / min(cpu for _, cpu, _ in runs), 2),
            "tokens_per_row": round(runs[0][2] / len(rows), 1),
        }
        for name, runs in found.items()
    ]
    return {
        "held": contenders[-1]["speedup_cpu_time"] >= MIN_SPEEDUP,  # type: ignore[operator]
        "contenders": contenders,
        "rows": len(rows),
        "steps_each": options.rounds * -(-len(rows) // BATCH_SIZE),
        "texts": texts,
        "max_tokens": options.max_tokens,
        "batch_size": BATCH_SIZE,
        "tokens_mean": round(float(dataset.lengths.mean()), 1),
        "rounds": options.rounds,
    }


def dataset_head(dataset: Any, count: int) -> Any:
    from demur.training import TokenDataset

    return TokenDataset(dataset.rows.take(range(count)), dataset.targets[:count])


def commit() -> str:
    found = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], cwd=HERE, capture_output=True, text=True, check=False
    )
    return found.stdout.strip() or "unknown"


def describe_processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "unknown")


def write_results(result: dict[str, Any]) -> None:
    (HERE / "result.json").write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    lines = ["# Result", "", "| padding | rows/s | speed-up | speed-up (CPU time) | tokens a row, with padding |"]
    lines += ["| --- | --- | --- | --- | --- |"]
    lines += [
        f"| {row['contender']} | {row['rows_per_s']} | {row['speedup']} | {row['speedup_cpu_time']} "
        f"| {row['tokens_per_row']} |"
        for row in result["contenders"]
    ]
    machine = result["machine"]
    lines += [
        "",
        f"Bound: bucketing with dynamic padding at least {MIN_SPEEDUP} times max_length, in CPU time: "
        f"**{'held' if result['held'] else 'broken'}**.",
        "",
        f"{result['rows']} {result['texts']} responses, {result['tokens_mean']} tokens each on average (at most "
        f"{result['max_tokens']}), batches of {result['batch_size']}, {result['rounds']} rounds in turns "
        f"({result['steps_each']} steps each), the fastest counts; {machine['processor']}, {machine['cores']} "
        f"cores, load {machine['load_1min_before']} before; commit {result['commit']}, {result['date']}; "
        + ", ".join(f"{name} {number}" for name, number in result["versions"].items())
        + ".",
    ]
    (HERE / "result.md").write_text("\n".join(lines) + "\n", encoding="utf-8")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=320)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--max-tokens", type=int, default=256)
    parser.add_argument("--shuffled", action="store_true", help="Time dynamic padding without buckets as well.")
    parser.add_argument("--cores", type=int, default=len(os.sched_getaffinity(0)))
    options = parser.parse_args()
    machine = {
        "processor": describe_processor(),
        "cores": options.cores,
        "load_1min_before": round(os.getloadavg()[0], 2),
    }
    import torch

    from demur.models import library_versions
    from demur.training import quiet_transformers

    torch.set_num_threads(options.cores)
    with quiet_transformers():
        result = measure(options)
    result |= {
        "machine": machine,
        "commit": commit(),
        "date": datetime.now(UTC).date().isoformat(),
        "versions": library_versions(),
    }
    write_results(result)
    print((HERE / "result.md").read_text(encoding="utf-8"))
    return 0 if result["held"] else 1


if __name__ == "__main__":
    sys.exit(main())
