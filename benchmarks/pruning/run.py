"""What pruning saves in a search, and what it costs in score; see README.md.

    DEMUR_REAL_DATA=folder python benchmarks/pruning/run.py [--seeds 3] [--cases logreg,cnn]

Without DEMUR_REAL_DATA the starter corpus is used, which is too small to say much.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
import warnings
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
MOST_COST, TOLERANCE = 0.5, 0.005
PRUNERS = ("none", "median", "third", "halving")
FIRST_SEED = 10
"""The default pruner was chosen by looking at seeds 0 to 2 of the first case."""
CASES: dict[str, dict[str, Any]] = {
    "logreg": {
        "title": "TF-IDF and logistic regression, pruned between 5 folds",
        "task": "prompt_risk",  # sources labelled by intent
        "sources": ("xstest_prompts", "coconot", "aegis_test", "simple_safety_tests"),
        "model": {"preset": "tfidf_logreg"},
        "search": {
            "method": "optuna",
            "trials": 30,
            "folds": 5,
            "space": {
                "c": {"low": 0.01, "high": 100, "log": True},
                "min_df": {"low": 1, "high": 10, "int": True},
                "max_terms": [1000, 5000, 20_000, 100_000],
                "word_ngrams": [[1, 1], [1, 2], [1, 3]],
            },
        },
    },
    "cnn": {
        "title": "CNN, pruned after every epoch and fold (3 folds of at most 5 epochs)",
        "task": "refusal",
        "sources": ("xstest",),
        "model": {
            "family": "neural",
            "settings": {
                "embeddings": "random",
                "max_tokens": 64,
                "prompt_tokens": 16,
                "train": {"epochs": 5, "device": "cpu"},
            },
        },
        "limit": 900,
        "search": {
            "method": "optuna",
            "trials": 12,
            "folds": 3,
            "space": {
                "train.learning_rate": {"low": 1e-4, "high": 2e-2, "log": True},
                "train.batch_size": [16, 32, 64],
                "dropout": {"low": 0.0, "high": 0.6},
                "filters": {"low": 16, "high": 64, "int": True},
            },
        },
    },
}


def prepare(case: dict[str, Any]) -> Any:
    """Cleaned and grouped rows of a task, as a run of an experiment would have them."""
    from demur.config import parse_settings
    from demur.data import Records
    from demur.experiment import ExperimentConfig
    from demur.experiment._folder import RunFolder
    from demur.experiment._prepare import prepare_tasks
    from demur.tasks import BUILT_IN

    real, task = os.environ.get("DEMUR_REAL_DATA"), case["task"]
    with tempfile.TemporaryDirectory() as work:
        data: dict[str, Any] = {"path": "starter:desk"}
        if real:
            rows = Path(work) / "rows.jsonl"
            with (Path(real) / f"{task}.jsonl").open(encoding="utf-8") as lines:
                rows.write_text("".join(line for line in lines if json.loads(line)["source"] in case["sources"]))
            data = {"path": str(rows), "columns": {task: "label"}}
        if "limit" in case:
            data["limit"] = case["limit"]
        values = {"tasks": [task], "data": [data], "blind": [], "validation": {"leave_one_out": []}}
        config = parse_settings(ExperimentConfig, values)
        (found,) = prepare_tasks(config, [BUILT_IN[task]], RunFolder(Path(work) / "run"))
    assert isinstance(found.records, Records)
    return found


def search(case: dict[str, Any], data: Any, pruner: str, seed: int, work: Path) -> dict[str, Any]:
    """One search on the training rows; its score, and what it cost."""
    from demur.config import parse_settings
    from demur.experiment import ModelSpec
    from demur.experiment._fit import FitJob, fit_classifier, resolve_spec
    from demur.experiment._search import search_settings

    values = case["model"] | {"name": "model", "search": case["search"] | {"pruner": pruner}}
    job = FitJob(parse_settings(ModelSpec, values), data, data.main, seed, work / f"{pruner}-{seed}")
    family, settings = resolve_spec(job.spec)

    def fit(trial: Any, rows: Any, on_progress: Any = None) -> Any:
        classifier = family(data.task, trial, seed)
        classifier.on_progress = on_progress
        return fit_classifier(classifier, job, rows)

    wall, cpu = time.perf_counter(), time.process_time()
    _, found = search_settings(job, family, settings, fit)
    cost = {"cpu_s": time.process_time() - cpu, "wall_s": time.perf_counter() - wall}
    assert found is not None
    told = found.to_json()
    kept = ("score", "start_score", "trials", "complete", "pruned", "failed", "fits", "epochs", "params")
    return {"pruner": pruner, "seed": seed} | {name: told[name] for name in kept} | cost


def summarise(runs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """A row a pruner: means over the seeds, against the search without one."""
    plain = {run["seed"]: run for run in runs if run["pruner"] == "none"}
    rows = []
    for pruner in PRUNERS:
        mine = [run for run in runs if run["pruner"] == pruner]
        rows.append(
            {
                "pruner": pruner,
                "score": mean([run["score"] for run in mine]),
                "lost": mean([plain[run["seed"]]["score"] - run["score"] for run in mine]),
                "lost_at_most": max(plain[run["seed"]]["score"] - run["score"] for run in mine),
                "pruned": mean([run["pruned"] for run in mine]),
                "fits": mean([run["fits"] for run in mine]),
                "epochs": mean([run["epochs"] for run in mine]),
                "cpu_s": mean([run["cpu_s"] for run in mine]),
            }
        )
    for row in rows:
        row["epochs_share"] = row["epochs"] / rows[0]["epochs"]
        row["cpu_share"] = row["cpu_s"] / rows[0]["cpu_s"]
        cheap = max(row["epochs_share"], row["cpu_share"]) <= MOST_COST
        row["held"] = row["pruner"] != "none" and cheap and row["lost"] <= TOLERANCE
    return rows


def mean(values: list[float]) -> float:
    return sum(values) / len(values)


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
    return {
        "processor": names[0] if names else platform.processor(),
        "cores_used": 1,
        "load_1min_before": round(os.getloadavg()[0], 2),
    }


def write_results(result: dict[str, Any]) -> None:
    (HERE / "result.json").write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    lines = ["# Result", ""]
    for case in result["cases"]:
        head = (
            "| pruner | best score | lost to none: mean, most | pruned | fits | epochs | share of epochs | CPU s "
        )
        lines += [f"## {case['title']}", "", head + "| share of CPU | held |", "|" + " --- |" * 10]
        for row in case["summary"]:
            held = "" if row["pruner"] == "none" else "yes" if row["held"] else "no"
            lines.append(
                f"| {row['pruner']} | {row['score']:.4f} | {row['lost']:+.4f}, {row['lost_at_most']:+.4f} "
                f"| {row['pruned']:.1f} | {row['fits']:.1f} | {row['epochs']:.1f} | {row['epochs_share']:.0%} "
                f"| {row['cpu_s']:.1f} | {row['cpu_share']:.0%} | {held} |"
            )
        lines += [
            "",
            f"{case['trials']} trials on {case['rows']} training rows of {case['task']} ({result['data']}), seeds "
            f"{', '.join(map(str, case['seeds']))}; untuned {case['start_score']:.4f}; "
            f"figures are means over the seeds.",
            "",
        ]
    where = result["machine"]
    lines += [
        f"Bounds: at most {MOST_COST:.0%} of the cost, in epochs and in CPU seconds, and a best score at most "
        f"{TOLERANCE} below on average: **{'held' if result['held'] else 'broken'}** "
        "(by one pruner at least in each case).",
        "",
        f"{where['processor']}, one core, load {where['load_1min_before']} before; {result['seconds']:.0f} s; "
        f"commit {result['commit']}, {result['date']}; "
        + ", ".join(f"{name} {number}" for name, number in result["versions"].items())
        + ".",
    ]
    (HERE / "result.md").write_text("\n".join(lines) + "\n", encoding="utf-8")


def run_case(name: str, seeds: int, trials: int | None, work: Path) -> dict[str, Any]:
    case = CASES[name]
    if trials is not None:
        case = case | {"search": case["search"] | {"trials": trials}}
    data = prepare(case)
    runs = []
    for seed in range(FIRST_SEED, FIRST_SEED + seeds):
        for pruner in PRUNERS:
            runs.append(search(case, data, pruner, seed, work / name))
            shown = {key: runs[-1][key] for key in ("pruner", "seed", "score", "pruned", "epochs", "cpu_s")}
            print(name, shown, flush=True)
    return {
        "name": name,
        "title": case["title"],
        "task": case["task"],
        "search": case["search"],
        "trials": case["search"]["trials"],
        "rows": len(data.main.train),
        "seeds": list(range(FIRST_SEED, FIRST_SEED + seeds)),
        "start_score": mean([run["start_score"] for run in runs]),
        "summary": summarise(runs),
        "runs": runs,
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", default=",".join(CASES), help="Which, with commas between.")
    parser.add_argument("--seeds", default="3,1", help="Seeds of each case, with commas between.")
    parser.add_argument("--trials", type=int, help="Of every case, instead of its own number.")
    options = parser.parse_args()
    here = machine()
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:1])
    os.environ["OMP_NUM_THREADS"] = "1"
    warnings.simplefilter("ignore")
    from demur.models import library_versions

    started = time.perf_counter()
    counts = [int(count) for count in options.seeds.split(",")]
    names = options.cases.split(",")
    with tempfile.TemporaryDirectory() as work:
        cases = [
            run_case(name, count, options.trials, Path(work)) for name, count in zip(names, counts, strict=True)
        ]
    result = {
        "held": all(any(row["held"] for row in case["summary"]) for case in cases),
        "cases": cases,
        "data": "public sets" if os.environ.get("DEMUR_REAL_DATA") else "the starter corpus",
        "seconds": time.perf_counter() - started,
        "machine": here,
        "commit": commit(),
        "date": datetime.now(UTC).date().isoformat(),
        "versions": library_versions(),
    }
    write_results(result)
    print((HERE / "result.md").read_text(encoding="utf-8"))
    return 0 if result["held"] else 1


if __name__ == "__main__":
    sys.exit(main())
