"""When balancing classes helps and when not, on public human-labelled sets; see README.md.

    DEMUR_REAL_DATA=folder python benchmarks/balance/run.py [--tasks refusal,jailbreak] [--models tfidf_logreg]
        [--seeds 5] [--rows 900] [--out folder] [--fresh]

Killed at any moment it goes on from result.json, which is written after every fit.
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
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tables import FIGURES, PAIRS, summarise, write_tables

HERE = Path(__file__).resolve().parent
TEST, VALID = 0.3, 0.1
RARE_SHARE = 0.08
CASES: dict[str, dict[str, Any]] = {
    "refusal": {
        "title": "Refusal: soft refusals are rare",
        "task": "refusal",
        "sources": ("xstest",),
        "rare": "soft_refusal",
    },
    "jailbreak": {
        "title": "Jailbreak: successes are the smaller class",
        "task": "jailbreak",
        "sources": ("gptfuzz", "harmbench_val", "pyrit_objective"),
        "rare": "attack_succeeded",
        "cap_per_group": 15,  # thousands of rows share a hundred questions
    },
    "prompt_risk": {
        "title": "Prompt risk: nearly even classes",
        "task": "prompt_risk",
        "sources": ("xstest_prompts", "coconot", "aegis_test", "simple_safety_tests"),  # labelled by intent
        "rare": "malicious",
    },
    "prompt_risk_rare": {
        "title": f"Prompt risk: malicious prompts thinned to {RARE_SHARE:.0%}, in training and test",
        "task": "prompt_risk",
        "sources": ("xstest_prompts", "coconot", "aegis_test", "simple_safety_tests"),
        "rare": "malicious",
        "share": RARE_SHARE,
    },
}
CLASSICAL = {"none": {"balance": "none"}, "balanced": {"balance": "balanced"}, "adaptive": {"balance": "adaptive"}}
NEURAL = {
    "none": {"loss": "cross_entropy", "class_weights": "none"},
    "balanced": {"loss": "cross_entropy", "class_weights": "balanced"},
    "adaptive": {"loss": "cross_entropy", "class_weights": "adaptive"},
    "focal": {"loss": "focal", "class_weights": "none"},
    "focal_adaptive": {"loss": "focal", "class_weights": "adaptive"},
}
MODELS: dict[str, dict[str, Any]] = {
    "tfidf_logreg": {"settings": {}, "variants": CLASSICAL},
    "tfidf_lightgbm": {"settings": {"threads": 1}, "variants": CLASSICAL},
    "neural_cnn": {
        "settings": {
            "embeddings": "random",
            "max_tokens": 96,
            "prompt_tokens": 32,
            "train": {"epochs": 12, "device": "cpu"},
        },
        "variants": {name: {"train": values} for name, values in NEURAL.items()},
    },
}


def read_case(case: dict[str, Any]) -> Any:
    """Cleaned and grouped rows of a case."""
    from demur.data import CleanConfig, Records, clean_records
    from demur.tasks import BUILT_IN

    name, task = case["task"], BUILT_IN[case["task"]]
    with (Path(os.environ["DEMUR_REAL_DATA"]) / f"{name}.jsonl").open(encoding="utf-8") as lines:
        rows = [row for row in map(json.loads, lines) if row["source"] in case["sources"]]
    kept = ("id", "prompt", "response", "source")
    records = Records.from_rows(
        [
            {key: row[key] for key in kept if key in row} | {name: row["label"]}
            for row in rows
            if row["label"] in task.labels
        ]
    )
    return clean_records(records, CleanConfig(detect_language=False), [task])[0].labelled(task)


def draw_rows(records: Any, case: dict[str, Any], seed: int) -> Any:
    """The rows a seed works on: at most so many of a group and of the rare class as the case says."""
    import numpy as np

    from demur.tasks import BUILT_IN

    task = BUILT_IN[case["task"]]
    order = np.random.default_rng(seed).permutation(len(records))
    if "cap_per_group" in case:
        taken: dict[int, int] = {}
        groups, kept = records.groups(), []
        for row in order.tolist():
            taken[groups[row]] = taken.get(groups[row], 0) + 1
            if taken[groups[row]] <= case["cap_per_group"]:
                kept.append(row)
        order = np.array(kept)
    if "share" in case:
        is_rare = records.targets(task)[order] == task.label_id(case["rare"])
        wanted = round(case["share"] / (1 - case["share"]) * int((~is_rare).sum()))
        order = np.concatenate([order[~is_rare], order[is_rare][:wanted]])
    return records.take(np.sort(order))


def split_case(records: Any, case: dict[str, Any], seed: int, rows: int) -> dict[str, Any]:
    """Training, validation and test rows of a seed, no group on two sides."""
    import numpy as np

    from demur.data import SplitConfig, split_records
    from demur.tasks import BUILT_IN

    drawn = draw_rows(records, case, seed)
    split = split_records(drawn, BUILT_IN[case["task"]], SplitConfig(test=TEST, valid=VALID, seed=seed))
    assert split.valid is not None
    train = np.random.default_rng(seed).permutation(split.train)[:rows]
    return {
        "train": drawn.take(np.sort(train)),
        "valid": drawn.take(split.valid),
        "test": drawn.take(split.test),
        # What the corrected interval asks for: how much the tests of two seeds overlap.
        "ratio": len(split.test) / (len(drawn) - len(split.test)),
    }


def run_fit(job: tuple[str, str, str, int], parts: dict[str, Any]) -> dict[str, Any]:
    """One fit and its figures on the test rows."""
    import numpy as np

    from demur.config import merge_values, parse_settings
    from demur.metrics import evaluate
    from demur.models import find_preset
    from demur.tasks import BUILT_IN

    case, model, variant, seed = job
    task, rare = BUILT_IN[CASES[case]["task"]], CASES[case]["rare"]
    family, base = find_preset(model)
    values = merge_values(merge_values(base, MODELS[model]["settings"]), MODELS[model]["variants"][variant])
    classifier = family(task, parse_settings(family.config_type, values, model), seed)
    cpu = time.process_time()
    classifier.fit(parts["train"], parts["valid"] if classifier.wants_valid else None)
    cpu = time.process_time() - cpu
    truth = parts["test"].targets(task)
    found = evaluate(task, truth, classifier.predict_proba(parts["test"]), draws=0).metrics
    number = task.label_id(rare)
    names = {name: metric.format(number=number) for name, (metric, _) in FIGURES.items()}
    trajectory = getattr(classifier.training or classifier, "alpha_trajectory", None)
    return {
        "case": case,
        "model": model,
        "variant": variant,
        "seed": seed,
        "figures": {name: found[metric].value for name, metric in names.items()},
        "rows": {side: len(parts[side]) for side in ("train", "valid", "test")},
        "rare_rows": {
            side: int(np.sum(parts[side].targets(task) == number)) for side in ("train", "valid", "test")
        },
        "ratio": parts["ratio"],
        "final_weights": trajectory.get("chosen", trajectory["final_alpha"]) if trajectory else None,
        "fit_cpu_s": round(cpu, 2),
        "commit": commit(),
    }


def jobs_of(options: argparse.Namespace) -> Iterator[tuple[str, str, str, int]]:
    """All fits, cheap models first, the seeds of a case together."""
    for model in options.models.split(","):
        for case in options.tasks.split(","):
            for seed in range(options.seeds):
                for variant in MODELS[model]["variants"]:
                    yield case, model, variant, seed


def setup_of(options: argparse.Namespace) -> dict[str, Any]:
    """What fits must have in common to stand in one table."""
    made = {"rows": options.rows, "test": TEST, "valid": VALID, "cases": CASES, "models": MODELS}
    return dict(json.loads(json.dumps(made)))


def read_runs(path: Path, setup: dict[str, Any]) -> list[dict[str, Any]]:
    """The fits that are done already.

    Raises
    ------
    SystemExit
        They were made with other settings.
    """
    if not path.exists():
        return []
    saved = json.loads(path.read_text(encoding="utf-8"))
    if saved["setup"] != setup:
        raise SystemExit(
            f"{path.name} holds fits of {saved['setup']['rows']} rows or of other settings than these; "
            "give the same --rows, another --out, or --fresh to begin anew"
        )
    return list(saved["runs"])


def write_result(folder: Path, runs: list[dict[str, Any]], setup: dict[str, Any]) -> None:
    """``result.json`` and ``result.md`` of the fits so far, each replaced as a whole."""
    from demur.models import library_versions

    result = {
        "summary": summarise(runs, CASES, MODELS),
        "pairs": PAIRS,
        "runs": runs,
        "setup": setup,
        "data": "public sets",
        "machine": machine(),
        "date": datetime.now(UTC).date().isoformat(),
        "versions": library_versions(),
    }
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in (
        ("result.json", json.dumps(result, indent=1) + "\n"),
        ("result.md", write_tables(result, CASES)),
    ):
        part = folder / f".{name}.part"
        part.write_text(text, encoding="utf-8")
        part.replace(folder / name)


def commit() -> str:
    found = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], cwd=HERE, capture_output=True, text=True, check=False
    )
    return found.stdout.strip() or "unknown"


def machine() -> dict[str, Any]:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return {"processor": names[0] if names else platform.processor(), "cores_used": 1}


def parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", default=",".join(CASES), help="Which cases, with commas between.")
    parser.add_argument("--models", default=",".join(MODELS), help="Which presets, with commas between.")
    parser.add_argument("--seeds", type=int, default=5, help="Seeds from 0; each has its own split.")
    parser.add_argument("--rows", type=int, default=900, help="Most training rows.")
    parser.add_argument("--out", type=Path, default=HERE, help="Folder of result.json and result.md.")
    parser.add_argument("--fresh", action="store_true", help="Forget the fits that are there.")
    options = parser.parse_args()
    for given, known in ((options.tasks, CASES), (options.models, MODELS)):
        wrong = sorted(set(given.split(",")) - set(known))
        if wrong:
            parser.error(f"'{', '.join(wrong)}' is not one of {', '.join(known)}")
    return options


def main() -> int:
    options = parse_options()
    if not os.environ.get("DEMUR_REAL_DATA"):
        print(
            "DEMUR_REAL_DATA names no folder of refusal.jsonl, jailbreak.jsonl and prompt_risk.jsonl; nothing run"
        )
        return 0
    os.environ["OMP_NUM_THREADS"] = "1"
    warnings.simplefilter("ignore")
    setup = setup_of(options)
    runs = [] if options.fresh else read_runs(options.out / "result.json", setup)
    done = {(run["case"], run["model"], run["variant"], run["seed"]) for run in runs}
    read: dict[str, Any] = {}
    parts: dict[tuple[str, int], Any] = {}
    for job in jobs_of(options):
        if job in done:
            continue
        case, seed = job[0], job[3]
        if case not in read:
            read[case] = read_case(CASES[case])
        if (case, seed) not in parts:
            parts = {(case, seed): split_case(read[case], CASES[case], seed, options.rows)}
        runs.append(run_fit(job, parts[case, seed]))
        write_result(options.out, runs, setup)
        shown = {name: round(value, 3) for name, value in runs[-1]["figures"].items() if value is not None}
        print(*job, shown, f"{runs[-1]['fit_cpu_s']} s", flush=True)
    write_result(options.out, runs, setup)
    print(f"{len(runs)} fits in {(options.out / 'result.md').name}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
