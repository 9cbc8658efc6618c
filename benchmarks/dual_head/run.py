"""One encoder pass for two tasks against two fine-tuned models, in rate and in quality; see README.md.

    python benchmarks/dual_head/run.py [--rows 400] [--seeds 3] [--epochs 3] [--cores 1]

With DEMUR_REAL_DATA naming the folder of refusal.jsonl and jailbreak.jsonl, their rows are used; else the
starter corpus.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
MIN_RATIO = 1.7
NAMES = ("refusal", "jailbreak")
TEST_SHARE = 1 / 3


def read_parts(rows: int) -> dict[str, Any]:
    """A task's name to its records, about ``rows`` of them to train on and half as many to test on."""
    import numpy as np

    from demur.data import Records, assign_groups, load_starter
    from demur.tasks import BUILT_IN

    real, parts = os.environ.get("DEMUR_REAL_DATA"), {}
    for name in NAMES:
        records = read_real(Path(real) / f"{name}.jsonl", name) if real else load_starter("all")
        kept = records.labelled(BUILT_IN[name])
        order = np.random.default_rng(0).permutation(len(kept))
        parts[name] = kept.take(order[: round(rows / (1 - TEST_SHARE))])
    # Prompts of both tasks are grouped together: none may be tested by one task and learned by the other.
    grouped = assign_groups(Records.concat(list(parts.values())), 0.85)
    border = len(parts[NAMES[0]])
    return {
        NAMES[0]: grouped.take(range(border)),
        NAMES[1]: grouped.take(range(border, len(grouped))),
    }


def read_real(path: Path, name: str) -> Any:
    from demur.data import Records
    from demur.tasks import BUILT_IN

    with path.open(encoding="utf-8") as lines:
        rows = [json.loads(line) for line in lines]
    kept = [row for row in rows if row["label"] in BUILT_IN[name].labels]
    return Records.from_rows(
        [{key: row[key] for key in ("id", "prompt", "response", "source")} | {name: row["label"]} for row in kept]
    )


def split_parts(parts: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Training and test records of each task; no group is tested by one task and learned by another."""
    import polars as pl

    from demur.data import SplitConfig, split_records
    from demur.tasks import BUILT_IN

    splits = {
        name: split_records(part, BUILT_IN[name], SplitConfig(test=TEST_SHARE, valid=0))
        for name, part in parts.items()
    }
    test = {name: part.take(splits[name].test) for name, part in parts.items()}
    held = {group for part in test.values() for group in part.texts("group")}
    train = {
        name: part.take(splits[name].train).filter(~pl.col("group").is_in(sorted(held)))
        for name, part in parts.items()
    }
    return train, test


def fit_models(train: dict[str, Any], options: argparse.Namespace, seed: int) -> tuple[Any, dict[str, Any]]:
    """The dual model, and one fine-tuned model a task, with the same settings on the same rows."""
    from demur.models.dual import DualClassifier, DualConfig
    from demur.models.transformer import TransformerClassifier, TransformerConfig
    from demur.tasks import BUILT_IN

    shared: dict[str, Any] = {
        "max_tokens": options.max_tokens,
        "train": {"epochs": options.epochs, "learning_rate": 1e-4},
    }
    first, second = (BUILT_IN[name] for name in NAMES)
    dual = DualClassifier(first, DualConfig(**shared), seed)
    dual.companions = {second.name: (second, train[second.name])}
    dual.fit(train[first.name])
    single = {
        name: TransformerClassifier(BUILT_IN[name], TransformerConfig(**shared), seed).fit(train[name])
        for name in NAMES
    }
    return dual, single


def measure_rate(dual: Any, single: dict[str, Any], records: Any, rounds: int) -> dict[str, Any]:
    """Rows a second with both answers each, in turns; the fastest turn of each counts."""

    def run_two() -> None:
        for model in single.values():
            model.predict_proba(records)

    runs: dict[str, Callable[[], Any]] = {"dual": lambda: dual.predict_all(records), "two models": run_two}
    walls: dict[str, list[float]] = {name: [] for name in runs}
    cpus: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(rounds):
        for name, run in runs.items():
            wall, cpu = time.perf_counter(), time.process_time()
            run()
            walls[name].append(time.perf_counter() - wall)
            cpus[name].append(time.process_time() - cpu)
    rates = {name: len(records) / min(found) for name, found in walls.items()}
    return {
        "rows": len(records),
        "rounds": rounds,
        "rows_per_s": {name: round(rate, 1) for name, rate in rates.items()},
        "ratio": round(rates["dual"] / rates["two models"], 2),
        "ratio_cpu_time": round(min(cpus["two models"]) / min(cpus["dual"]), 2),
        "ratios_of_turns": [
            round(two / one, 2) for one, two in zip(walls["dual"], walls["two models"], strict=True)
        ],
    }


def judge(dual: Any, single: dict[str, Any], test: dict[str, Any]) -> dict[str, Any]:
    """A task's name to the probabilities of the dual and of the single model, on its test rows."""
    both = {name: dual.predict_all(records) for name, records in test.items()}
    return {
        name: {"dual": both[name][name].probabilities, "single": model.predict(test[name]).probabilities}
        for name, model in single.items()
    }


def measure_quality(found: list[dict[str, Any]], test: dict[str, Any]) -> dict[str, Any]:
    """Macro-F1 of each on the test rows, and their paired difference, pooled over the seeds."""
    import numpy as np

    from demur.metrics import compare, evaluate
    from demur.tasks import BUILT_IN

    result = {}
    for name in NAMES:
        task, records = BUILT_IN[name], test[name]
        classes, groups = records.targets(task), records.texts("group")
        many = {"y_true": np.tile(classes, len(found)), "groups": groups * len(found)}
        given = {model: np.concatenate([one[name][model] for one in found]) for model in ("dual", "single")}
        pooled = {
            model: evaluate(task, probabilities=probabilities, **many).metrics["f1_macro"]
            for model, probabilities in given.items()
        }
        difference = compare(
            task, probabilities_a=given["dual"], probabilities_b=given["single"], metric="f1_macro", **many
        ).difference
        result[name] = {
            "test_rows": len(records),
            "test_groups": len(set(groups)),
            **{model: shown(estimate) for model, estimate in pooled.items()},
            "dual_minus_single": shown(difference),
            "by_seed": {
                model: [
                    round(evaluate(task, classes, one[name][model], groups, draws=0).metrics["f1_macro"].value, 3)
                    for one in found
                ]
                for model in ("dual", "single")
            },
        }
    return result


def shown(estimate: Any) -> dict[str, float]:
    return {key: round(getattr(estimate, key), 3) for key in ("value", "low", "high")}


def describe_machine(cores: int) -> dict[str, Any]:
    try:
        info = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        info = ""
    facts = {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in info.splitlines())}
    return {
        "processor": facts.get("model name", platform.processor()),
        "cores": cores,
        "load_1min_before": round(os.getloadavg()[0], 2),
    }


def commit() -> str:
    found = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], cwd=HERE, capture_output=True, text=True, check=False
    )
    return found.stdout.strip() or "unknown"


def parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=400, help="Training rows of each task, about.")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--max-tokens", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--cores", type=int, default=1)
    return parser.parse_args()


def main() -> int:
    options = parse_options()
    machine = describe_machine(options.cores)
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[-options.cores :])
    import torch

    from demur.data import Records

    torch.set_num_threads(options.cores)
    warnings.simplefilter("error")
    train, test = split_parts(read_parts(options.rows))
    found: list[dict[str, Any]] = []
    rate: dict[str, Any] = {}
    for seed in range(options.seeds):
        start = time.perf_counter()
        dual, single = fit_models(train, options, seed)
        found.append(judge(dual, single, test))
        if not rate:
            asked = Records.concat(list(test.values()))
            rate = measure_rate(dual, single, asked.take(range(0, len(asked), 2)), options.rounds)
        print(f"seed {seed}: {time.perf_counter() - start:.0f} s", flush=True)
        # After every seed, so that a run that is cut short has a result.
        result = describe(options, machine, train, rate, measure_quality(found, test))
        (HERE / "result.json").write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    print(json.dumps({key: result[key] for key in ("held", "rate", "quality_f1_macro")}, indent=2))
    return 0 if result["held"] else 1


def describe(
    options: argparse.Namespace,
    machine: dict[str, Any],
    train: dict[str, Any],
    rate: dict[str, Any],
    quality: dict[str, Any],
) -> dict[str, Any]:
    from demur.models import library_versions

    return {
        "held": rate["ratio"] >= MIN_RATIO,
        "bound": MIN_RATIO,
        "rate": rate,
        "quality_f1_macro": quality,
        "texts": "real" if os.environ.get("DEMUR_REAL_DATA") else "starter",
        "train_rows": {name: len(part) for name, part in train.items()},
        "settings": {name: getattr(options, name) for name in ("epochs", "max_tokens")},
        "machine": machine,
        "commit": commit(),
        "date": datetime.now(UTC).date().isoformat(),
        "versions": library_versions(),
    }


if __name__ == "__main__":
    sys.exit(main())
