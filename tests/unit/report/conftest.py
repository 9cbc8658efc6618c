"""A run folder as ``demur run`` leaves it, from simulated probabilities: no model is trained.

Run as a program, ``python conftest.py FOLDER [many]``, it writes one to look at.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from demur.analysis import AnalysisConfig, analyse_task, predictions_of
from demur.metrics import evaluate
from demur.tasks import BUILT_IN, Task

MODELS = (
    ("tfidf_logreg", "classical", 1.5),
    ("rules", "rules", 0.9),
    ("tfidf_xgboost", "classical", 1.3),
    ("minilm_logreg", "embedding", 1.9),
    ("minilm_finetuned", "transformer", 2.2),
    ("broken_model", "neural", None),
)
MANY = (
    *MODELS[:-1],
    ("tfidf_complement_naive_bayes_char", "classical", 1.1),
    ("tfidf_random_forest_word_and_char_ngrams", "classical", 1.2),
    ("tfidf_linear_svm_sigmoid_calibrated", "classical", 1.45),
    ("all-mpnet-base-v2_logreg_prompt_and_response", "embedding", 2.0),
    ("ModernBERT-base_finetuned_lr2e-5_focal_loss", "transformer", 2.3),
    ("roberta-base_finetuned", "transformer", 2.25),
    ("stack_of_everything", "ensemble", 2.4),
)
SOURCES = ("desk", "field", "borderline", "tiny")
ANSWERERS = ("voice-curt", "voice-kind", "voice-lawyer", "voice-chatty", None)
LOSS = {
    "valid": 0.0,
    "test": 0.0,
    "cv": 0.05,
    "leave_one_model_out": 0.3,
    "leave_one_source_out": 0.6,
    "blind": 0.8,
}


def simulate(task: Task, n: int, skill: float, seed: int, rows_seed: int) -> pl.DataFrame:
    """Rows with groups, sources, answerers, truth, and probabilities of a model of that skill."""
    rows, noise = np.random.default_rng(rows_seed), np.random.default_rng(seed)
    k = len(task.labels)
    shares = np.array([0.5, 0.3, 0.2, 0.1, 0.1])[:k]
    y = rows.choice(k, size=n, p=shares / shares.sum())
    logits = noise.normal(0, 1, (n, k))
    logits[np.arange(n), y] += skill
    proba = np.exp(1.4 * logits)
    proba /= proba.sum(axis=1, keepdims=True)
    source = rows.choice(len(SOURCES), size=n, p=(0.5, 0.3, 0.16, 0.04))
    answerer = rows.choice(len(ANSWERERS), size=n)
    columns: dict[str, Any] = {
        "id": [f"r{number:04d}" for number in range(n)],
        "group": [f"g{number}" for number in rows.integers(0, n // 3, n)],
        "source": [SOURCES[number] for number in source],
        "answerer": [ANSWERERS[number] if "response" in task.fields else None for number in answerer],
        "fold": [SOURCES[number] for number in source],
        "y": y.astype(np.int64),
    }
    columns |= {f"p_{number}": proba[:, number] for number in range(k)}
    return pl.DataFrame(columns, schema_overrides={"answerer": pl.String})


def judge(task: Task, frame: pl.DataFrame, draws: int) -> dict[str, Any]:
    proba = frame.select(f"p_{number}" for number in range(len(task.labels))).to_numpy()
    return evaluate(task, frame["y"].to_numpy(), proba, frame["group"].to_list(), draws=draws).to_json()


def describe(task: Task, frame: pl.DataFrame) -> dict[str, Any]:
    def counts(column: str) -> dict[str, int]:
        found = frame.get_column(column).fill_null("(none)").value_counts(sort=True)
        return {str(name): int(n) for name, n in found.iter_rows()}

    classes = {label: int((frame["y"] == number).sum()) for number, label in enumerate(task.labels)}
    return {
        "n": len(frame),
        "groups": frame["group"].n_unique(),
        "classes": classes,
        "sources": counts("source"),
        "answerers": counts("answerer"),
    }


def make_run(
    folder: Path,
    tasks: tuple[str, ...] = tuple(BUILT_IN),
    models: tuple[tuple[str, str, float | None], ...] = MODELS,
    n: int = 240,
    draws: int = 60,
    without_blind: tuple[str, ...] = ("prompt_risk",),
) -> Path:
    """Write the folder; ``without_blind`` names the tasks that have no blind set."""
    found = {}
    for place, name in enumerate(tasks):
        found[name] = make_task(folder, BUILT_IN[name], models, n, draws, 100 * place, name not in without_blind)
    results = {
        "name": "fake",
        "created": "2026-01-02T03:04:05+00:00",
        "seconds": 123.4,
        "versions": {"python": "3.11.9", "demur": "0.1.0", "numpy": "2.1.0"},
        "tasks": found,
    }
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "experiment_results.json").write_text(json.dumps(results, allow_nan=False), encoding="utf-8")
    run = {
        "format": 1,
        "created": results["created"],
        "config": {
            "name": "fake",
            "seed": 7,
            "draws": draws,
            "level": 0.95,
            "select": {"metric": "custom_score", "on": "auto", "thresholds": {"latency_ms_p95": {"max": 50}}},
        },
        "seed": 7,
        "versions": results["versions"],
        "machine": {"cpu": "a processor", "cores": 2},
        "data_hashes": dict.fromkeys(tasks, "ab" * 32),
        "timings": {"total_s": 123.4, "prepare_s": 3.2},
    }
    (folder / "run.json").write_text(json.dumps(run), encoding="utf-8")
    return folder


def make_task(
    folder: Path,
    task: Task,
    models: tuple[tuple[str, str, float | None], ...],
    n: int,
    draws: int,
    seed: int,
    has_blind: bool,
) -> dict[str, Any]:
    protocols = ["valid", "test", "leave_one_model_out", "leave_one_source_out", "blind"]
    if not has_blind:
        protocols.remove("blind")
    if "response" not in task.fields:
        protocols.remove("leave_one_model_out")
    rows = {name: simulate(task, n, 1.0, 0, seed + place) for place, name in enumerate(protocols)}
    found = [
        make_model(folder, task, model, (n, draws, seed, seed + 1000 + 10 * place), protocols)
        for place, model in enumerate(models)
    ]
    good = [model for model in found if model["status"] == "ok"]
    best = max(good, key=lambda model: model["evaluations"]["valid"]["metrics"]["custom_score"]["value"])
    best["selected"] = True
    missing = next((model for model in good if model["model"] == "tfidf_xgboost"), None)
    if missing and missing is not best:
        missing["failed_thresholds"] = ["precision_c1 0.41 is below 0.5"]
    train = simulate(task, 3 * n, 1.0, 0, seed + 99)
    data = {
        "train": describe(task, train),
        "valid": describe(task, rows["valid"]),
        "test": describe(task, rows["test"]),
        "blind": describe(task, rows["blind"]) if has_blind else None,
        "hash": "cd" * 32,
        "blind_hash": "ef" * 32 if has_blind else None,
    }
    figure = best["evaluations"]["valid"]["metrics"]["custom_score"]
    why = f"highest custom_score, {figure['value']:.3f}, n={figure['n']}, of {len(good)} models on validation rows"
    warnings = [] if has_blind else ["the blind set has no row of this task: f1_external is null"]
    dumped = task.model_dump(mode="json")
    entry = {
        "task": dumped,
        "data": data,
        "winner": best["model"],
        "why": why,
        "warnings": warnings,
        "models": found,
    }
    tests = AnalysisConfig(draws=draws, permutations=199, seed=7)
    entry["statistics"] = analyse_task(task, None, entry, predictions_of(folder, task.name), tests)
    for model in good:
        add_training(folder, task, model)
    return entry


def add_training(folder: Path, task: Task, model: dict[str, Any]) -> None:
    """What an experiment adds to a model that learnt by epochs or was tuned, and the files beside it."""
    figure = {"values": [0.5, 0.54, 0.52], "mean": 0.52, "std": 0.02}
    if model["family"] in ("classical", "embedding"):
        model["search"] = SEARCH | {"params": dict(model["best_params"]) or {"C": 2.0}}
        model["ready"] = ready(task)
    if model["family"] == "ensemble":
        model["diversity"] = DIVERSITY
    if model["family"] not in ("transformer", "neural"):
        return
    metrics = {"custom_score": figure, "f1_macro": figure}
    model["seeds"] = {"seeds": [7, 8, 9], "n": 3, "saved": 7, "evaluations": {"test": metrics}}
    curves = folder / "curves" / task.name
    curves.mkdir(parents=True, exist_ok=True)
    history = [
        {
            "epoch": e,
            "step": 10 * e,
            "loss": 1.1 / e,
            "valid_loss": 0.8 + 0.05 * (e - 3) ** 2,
            "score": 0.6 - 0.02 * (e - 4) ** 2,
        }
        for e in range(1, 7)
    ]
    curve = {"task": task.name, "model": model["model"], "best_epoch": 4, "epochs": 6, "history": history}
    (curves / f"{model['model']}.json").write_text(json.dumps(curve), encoding="utf-8")
    ones = dict.fromkeys(task.labels, 1.0)
    last = task.labels[-1]
    changes = [
        {
            "step": 20 + 10 * n,
            "class": last,
            "from": 1 + 0.1 * n,
            "to": 1.1 + 0.1 * n,
            "metric": "recall_c1",
            "value": 0.7,
        }
        for n in range(3)
    ]
    moved = {
        "task": task.name,
        "initial": ones,
        "final_alpha": ones | {last: 1.3},
        "changes": changes,
        "evaluations": 6,
    }
    (curves / f"alpha_trajectory_{model['model']}.json").write_text(json.dumps(moved), encoding="utf-8")


SEARCH = {
    "method": "tpe",
    "metric": "custom_score",
    "nested": True,
    "trials": 40,
    "pruned": 12,
    "seconds": 75.0,
    "score": 0.71,
    "default_score": 0.66,
}
DIVERSITY = {
    "n": 240,
    "groups": 80,
    "members": [{"name": "tfidf_logreg", "weight": 0.6}, {"name": "rules", "weight": None}],
    "pairs": [
        {
            "a": "tfidf_logreg",
            "b": "rules",
            "disagreement": {"value": 0.2, "low": 0.15, "high": 0.25},
            "kappa": None,
        }
    ],
    "mean": {"disagreement": {"value": 0.2, "low": 0.15, "high": 0.25}},
    "kappa_of_all": {"value": 0.6, "low": None, "high": None},
}


def ready(task: Task) -> dict[str, Any]:
    """What calibration and operating points look like in the results."""

    def figure(value: float) -> dict[str, Any]:
        return {"value": value, "low": value - 0.02, "high": value + 0.03, "n": 240, "reason": None}

    bounds = {"threshold": 0.83, "false_positive_rate": 0.008, "recall": 0.61}
    point = {"name": "fpr_1", "rate": 0.01, "negatives": 130, "positives": 110, "reason": None, "warning": None}
    for name, value in bounds.items():
        point |= {name: value, f"{name}_low": value * 0.8, f"{name}_high": value * 1.1}
    return {
        "rows": 240,
        "calibration": {
            "method": "platt",
            "reason": "lowest log loss",
            "rows": 96,
            "ece_before": figure(0.09),
            "ece_after": figure(0.04),
            "log_loss_before": 0.61,
            "log_loss_after": 0.52,
        },
        "operating": [point, {"name": "fpr_0.1", "rate": 0.001, "reason": "too few rows that are no threat"}],
        "conformal": {
            "method": "lac",
            "alpha": 0.05,
            "coverage": figure(0.951),
            "unsure": figure(0.12),
            "wrong_when_sure": figure(0.03),
            "guarantee": "at most 5 % of new rows are answered wrongly and surely, on average",
        },
    }


def make_model(
    folder: Path,
    task: Task,
    model: tuple[str, str, float | None],
    numbers: tuple[int, int, int, int],
    protocols: list[str],
) -> dict[str, Any]:
    name, family, skill = model
    n, draws, first, seed = numbers
    result: dict[str, Any] = {"model": name, "family": family, "status": "ok", "reason": None, "best_params": {}}
    result |= {"selected": False, "failed_thresholds": [], "evaluations": {}, "features": None}
    costs = ("fit_s", "latency_ms_p50", "latency_ms_p95", "throughput_per_s", "peak_memory_mb", "size_mb")
    if skill is None:
        reason = "ValueError: loss is not finite in step 12; lower the learning rate"
        return result | {"status": "failed", "reason": reason} | dict.fromkeys(costs)
    rng = np.random.default_rng(seed)
    latency = {"rules": 0.02, "classical": 0.8, "embedding": 9.0}.get(family, 30.0) * float(rng.uniform(0.6, 1.6))
    values = (3.2, latency, 2.1 * latency, 900 / latency, 210.5, 4.2)
    result |= dict(zip(costs, values, strict=True))
    if family == "classical":
        result["best_params"] = {"C": 4.0, "class_weight": "balanced"}
        result["features"] = {
            label: [(word, float(2.5 / (number + 1) ** 0.4)) for number, word in enumerate(words)]
            for label, words in zip(task.labels, FEATURES, strict=False)
        }
    for place, protocol in enumerate(protocols):
        frame = simulate(task, n, skill - LOSS[protocol], seed + place + 1, first + place)
        path = folder / "predictions" / task.name / name / f"{protocol}.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        frame.write_parquet(path)
        result["evaluations"][protocol] = judge(task, frame, draws)
        if protocol.startswith("leave_one"):
            column = "answerer" if protocol == "leave_one_model_out" else "source"
            folds = [value for value in frame[column].unique().sort().to_list() if value]
            result["evaluations"][protocol]["folds"] = {
                value: judge(task, frame.filter(pl.col(column) == value), draws) for value in folds
            }
    return result


FEATURES = (
    (
        "sure here ",
        "of course",
        "step ",
        "first",
        "here is",
        " you ",
        "follow",
        "result",
        "the answer",
        "1. ",
        "then",
        "ok ",
    ),
    (
        "i cannot",
        "i'm sorry",
        "can't help",
        "unable to",
        " not able",
        "decline",
        "won't",
        "against",
        "policy",
        "no,",
        "sorry",
        "refuse",
    ),
    (
        "instead",
        "in general",
        "however",
        "safer",
        "consider",
        "rather",
        "might",
        "could",
        "talk about",
        "hint",
        "maybe",
        "careful",
    ),
)


@pytest.fixture(scope="session")
def make():
    """Maker of run folders: ``make(folder, tasks=..., models=..., n=..., draws=...)``."""
    return make_run


@pytest.fixture(scope="session")
def run_folder(tmp_path_factory):
    """A run of three tasks and six models, one of which failed; prompt_risk has no blind set. Read only."""
    return make_run(tmp_path_factory.mktemp("run") / "fake", n=150, draws=40)


@pytest.fixture(scope="session")
def drawn(run_folder):
    """The pictures of that run."""
    from demur.report import draw_figures

    return draw_figures(run_folder)


@pytest.fixture(scope="session")
def many_folder(tmp_path_factory):
    """A run of one task and twelve models with long names, without intervals. Read only."""
    return make_run(tmp_path_factory.mktemp("many") / "run", tasks=("refusal",), models=MANY, n=120, draws=0)


@pytest.fixture(scope="session")
def overlaps():
    """Pairs of labels of a drawn figure that cover each other by more than a pixel: ``overlaps(figure)``."""

    def find(figure):
        from matplotlib.text import Text

        renderer = figure.canvas.get_renderer()
        texts = [text for text in figure.findobj(Text) if text.get_visible() and text.get_text().strip()]
        shown = [text for text in texts if text.axes is None or text.axes.get_visible()]
        # The box of an annotation would hold its line too; that of its text is wanted.
        boxes = [(text, Text.get_window_extent(text, renderer).padded(-1.0)) for text in shown]
        return [
            (first.get_text(), second.get_text())
            for place, (first, box) in enumerate(boxes)
            for second, other in boxes[place + 1 :]
            if box.overlaps(other) and not (first.get_text() == second.get_text() and first.axes is second.axes)
        ]

    return find


@pytest.fixture
def run(run_folder):
    """That run as a view."""
    from demur.report import RunView

    return RunView(run_folder)


@pytest.fixture
def refusal(run):
    """Its task ``refusal``."""
    return run.task("refusal")


@pytest.fixture
def small_run(tmp_path):
    """A run of one task to change at will."""
    return make_run(tmp_path / "small", tasks=("jailbreak",), n=80, draws=20)


@pytest.fixture
def edit():
    """Changer of a run's results: ``edit(folder, change)`` calls ``change(results)`` and writes them back."""

    def apply(folder, change):
        path = folder / "experiment_results.json"
        results = json.loads(path.read_text(encoding="utf-8"))
        change(results)
        path.write_text(json.dumps(results), encoding="utf-8")
        return folder

    return apply


if __name__ == "__main__":
    make_run(Path(sys.argv[1]), models=MANY if sys.argv[2:] else MODELS, draws=200)
