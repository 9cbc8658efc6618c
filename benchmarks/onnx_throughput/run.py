"""Throughput of ONNX int8 against the plain transformers pipeline; see README.md.

    python benchmarks/onnx_throughput/run.py [--model FOLDER] [--rows 1000] [--cores N]

With DEMUR_REAL_DATA naming the folder of refusal.jsonl, its rows are used; else neutral generated ones.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
MIN_SPEEDUP, MIN_AGREEMENT = 2.5, 0.995
MAX_TOKENS, PROMPT_TOKENS = 160, 64
BATCH_SIZES = (1, 8, 32)
TOPICS = "bread tea gardens bicycles maps clocks violins paper rain trains wool cheese stars boats"
FILLER = "it is a matter of patience and of good light so begin early and keep notes on what you see"

Row = dict[str, str]


def real_rows(folder: Path) -> list[Row]:
    with (folder / "refusal.jsonl").open(encoding="utf-8") as lines:
        rows = [json.loads(line) for line in lines]
    return [
        {"prompt": row["prompt"], "response": row["response"], "refusal": row["label"]}
        for row in rows
        if row["label"] in ("no_refusal", "hard_refusal", "soft_refusal")
    ]


def neutral_rows(count: int, seed: int = 0) -> list[Row]:
    """Made-up rows whose lengths spread like real answers: most short, some beyond the token limit."""
    draw = random.Random(seed)
    topics, filler = TOPICS.split(), FILLER.split()
    openings = {
        "no_refusal": ("Here is how.", "Of course.", "Happy to.", "Let us begin."),
        "hard_refusal": ("I'm sorry, I can't help with that.", "No, I won't do this.", "I must decline."),
        "soft_refusal": ("I'd rather not go into detail, but generally:", "I can only say a little:"),
    }
    rows = []
    for number in range(count):
        label = draw.choices(list(openings), weights=(5, 3, 2))[0]
        words = min(int(draw.lognormvariate(3.6, 1.0)), 400)
        topic = draw.choice(topics)
        text = " ".join(draw.choice(filler) for _ in range(words))
        prompt = f"Question {number}: tell me about {topic} and {draw.choice(topics)}."
        rows.append({"prompt": prompt, "response": f"{draw.choice(openings[label])} {text}", "refusal": label})
    return rows


def fine_tune(rows: list[Row], folder: Path, encoder: str | None) -> None:
    from demur.data import Records
    from demur.models.transformer import TransformerClassifier, TransformerConfig
    from demur.tasks import REFUSAL

    config = TransformerConfig(
        **({} if encoder is None else {"model": encoder}),
        head="transformers",
        max_tokens=MAX_TOKENS,
        prompt_tokens=PROMPT_TOKENS,
        train={"epochs": 3, "learning_rate": 1e-4},  # type: ignore[arg-type]
    )
    classifier = TransformerClassifier(REFUSAL, config, seed=0)
    classifier.fit(Records.from_rows(rows))
    classifier.save(folder)


def contenders(model: Path, rows: list[Row]) -> dict[str, Callable[[list[Row]], list[str]]]:
    """Name to a function from rows to labels; the pipeline comes in its fastest batch size."""
    from transformers import pipeline

    from demur.models import load

    native, fp32, int8 = (load(model, runtime) for runtime in ("native", "onnx-fp32", "onnx"))  # type: ignore[arg-type]
    plain = pipeline("text-classification", model=str(model), tokenizer=str(model), device="cpu")

    def run_pipeline(batch_size: int) -> Callable[[list[Row]], list[str]]:
        def run(given: list[Row]) -> list[str]:
            pairs = [{"text": row["prompt"], "text_pair": row["response"]} for row in given]
            settings = {"truncation": "only_second", "max_length": MAX_TOKENS, "batch_size": batch_size}
            return [found["label"] for found in plain(pairs, **settings)]

        return run

    trial = rows[:: max(1, len(rows) // 96)]
    speeds = {size: timed(run_pipeline(size), trial)[0] for size in BATCH_SIZES}
    best = min(speeds, key=lambda size: speeds[size])
    return {
        f"transformers pipeline (batch {best})": run_pipeline(best),
        "demur torch": lambda given: native.predict(texts_only(given)).labels,
        "demur ONNX fp32": lambda given: fp32.predict(texts_only(given)).labels,
        "demur ONNX int8": lambda given: int8.predict(texts_only(given)).labels,
    }


def texts_only(rows: list[Row]) -> list[Row]:
    return [{"prompt": row["prompt"], "response": row["response"]} for row in rows]


def timed(run: Callable[[list[Row]], list[str]], rows: list[Row]) -> tuple[float, float, list[str]]:
    """Wall seconds, CPU seconds, labels."""
    wall, cpu = time.perf_counter(), time.process_time()
    labels = run(rows)
    return time.perf_counter() - wall, time.process_time() - cpu, labels


def measure(
    runs: dict[str, Callable[[list[Row]], list[str]]], rows: list[Row], rounds: int
) -> list[dict[str, Any]]:
    """Every contender over all rows, in turns; the fastest turn counts."""
    walls: dict[str, list[float]] = {name: [] for name in runs}
    cpus: dict[str, list[float]] = {name: [] for name in runs}
    labels: dict[str, list[str]] = {}
    for run in runs.values():
        run(rows[:16])
    for _ in range(rounds):
        for name, run in runs.items():
            wall, cpu, labels[name] = timed(run, rows)
            walls[name].append(wall)
            cpus[name].append(cpu)
    first, checkpoint = next(iter(runs)), "demur torch"
    return [
        {
            "contender": name,
            "rows_per_s": round(len(rows) / min(walls[name]), 1),
            "speedup": round(min(walls[first]) / min(walls[name]), 2),
            "speedup_cpu_time": round(min(cpus[first]) / min(cpus[name]), 2),
            "equal_labels_pipeline": equal_share(labels[name], labels[first]),
            "equal_labels_torch": equal_share(labels[name], labels[checkpoint]),
        }
        for name in runs
    ]


def equal_share(left: list[str], right: list[str]) -> float:
    return sum(a == b for a, b in zip(left, right, strict=True)) / len(left)


def describe_machine(cores: int) -> dict[str, Any]:
    try:
        info = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        info = ""
    facts = {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in info.splitlines())}
    flags = facts.get("flags", "").split()
    wanted = ("avx2", "avx512f", "avx512_vnni", "avx_vnni", "amx_int8")
    return {
        "processor": facts.get("model name", platform.processor()),
        "cores": cores,
        "flags": [flag for flag in wanted if flag in flags],
        "load_1min_before": round(os.getloadavg()[0], 2),
    }


def commit() -> str:
    found = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], cwd=HERE, capture_output=True, text=True, check=False
    )
    return found.stdout.strip() or "unknown"


def write_results(result: dict[str, Any]) -> None:
    (HERE / "result.json").write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    head = "| contender | rows/s | speed-up | speed-up (CPU time) | labels = pipeline | labels = torch |"
    lines = ["# Result", "", head, "| --- | --- | --- | --- | --- | --- |"]
    lines += [
        f"| {row['contender']} | {row['rows_per_s']} | {row['speedup']} | {row['speedup_cpu_time']} "
        f"| {row['equal_labels_pipeline']:.2%} | {row['equal_labels_torch']:.2%} |"
        for row in result["contenders"]
    ]
    machine = result["machine"]
    lines += [
        "",
        f"Bounds: int8 at least {MIN_SPEEDUP} times the pipeline and {MIN_AGREEMENT:.1%} equal labels: "
        f"**{'held' if result['held'] else 'broken'}**.",
        "",
        f"{result['rows']} {result['texts']} rows, {result['tokens_mean']:.0f} tokens each on average (at most "
        f"{MAX_TOKENS}), {result['rounds']} rounds, the fastest counts; {machine['processor']}, "
        f"{machine['cores']} cores, {' '.join(machine['flags'])}, load {machine['load_1min_before']} before; "
        f"int8 recipe: {result['int8']['recipe']}; commit {result['commit']}, {result['date']}; "
        + ", ".join(f"{name} {number}" for name, number in result["versions"].items())
        + ".",
    ]
    (HERE / "result.md").write_text("\n".join(lines) + "\n", encoding="utf-8")


def prepare(options: argparse.Namespace, work: Path) -> tuple[Path, list[Row], str]:
    """The checkpoint with its ONNX export, and the rows to time, none of which it was tuned or calibrated on."""
    from demur.data import Records
    from demur.models import export_onnx, load

    real = os.environ.get("DEMUR_REAL_DATA")
    rows = real_rows(Path(real)) if real else neutral_rows(options.rows + options.train_rows + 400)
    random.Random(0).shuffle(rows)
    model = options.model or work / "model"
    calibration, rest = rows[:400], rows[400:]
    if options.model is None:
        fine_tune(rest[: options.train_rows], model, options.encoder)
        rest = rest[options.train_rows :]
    classifier: Any = load(model)
    export_onnx(classifier, model, Records.from_rows(texts_only(calibration)))
    # Longer prompts are cut otherwise by the pipeline, whose inputs must be the very same.
    lengths = [len(ids) for ids in classifier.row_encoder.tokenize([row["prompt"] for row in rest])]
    same = [row for row, length in zip(rest, lengths, strict=True) if length <= PROMPT_TOKENS]
    return model, same[: options.rows], "real" if real else "generated"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--model", type=Path, help="A saved classifier with head: transformers; default: tune one."
    )
    parser.add_argument("--encoder", help="What is tuned instead of the embedded one: a folder or a hub name.")
    parser.add_argument("--rows", type=int, default=1000)
    parser.add_argument("--train-rows", type=int, default=800)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--cores", type=int, default=len(os.sched_getaffinity(0)))
    options = parser.parse_args()
    machine = describe_machine(options.cores)
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: options.cores])
    import torch
    from transformers.utils import logging

    from demur.models import library_versions

    torch.set_num_threads(options.cores)
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    with tempfile.TemporaryDirectory() as work:
        model, rows, texts = prepare(options, Path(work))
        found = json.loads((model / "onnx" / "onnx.json").read_text(encoding="utf-8"))
        measured = measure(contenders(model, rows), rows, options.rounds)
        from demur.models import load

        encoder = load(model).row_encoder  # type: ignore[attr-defined]
        fields = ("prompt", "response")
        tokens = encoder.encode([[row[field] for row in rows] for field in fields], fields).lengths
    last = measured[-1]
    agreement = min(last["equal_labels_pipeline"], last["equal_labels_torch"])
    result = {
        "held": found["int8"]["recipe"] is not None
        and last["speedup"] >= MIN_SPEEDUP
        and agreement >= MIN_AGREEMENT,
        "contenders": measured,
        "rows": len(rows),
        "texts": texts,
        "tokens_mean": float(tokens.mean()),
        "rounds": options.rounds,
        "int8": {key: found["int8"][key] for key in ("recipe", "agreement", "rows", "reason")},
        "fp32": found["fp32"],
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
