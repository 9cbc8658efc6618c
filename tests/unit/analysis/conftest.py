"""Predictions of models of a given skill, and run folders that hold them; no model is trained."""

import json

import numpy as np
import polars as pl
import pytest

from demur.analysis import AnalysisConfig, Predicted
from demur.tasks import JAILBREAK, REFUSAL

FAST = AnalysisConfig(draws=200, permutations=499, seed=3)


def simulate(skill, n=120, k=3, seed=0, rows_seed=0, per_group=3, folds=4):
    """Predictions of a model of that skill; rows of a group share luck, so they are not independent."""
    rows, noise = np.random.default_rng(rows_seed), np.random.default_rng(seed)
    y = rows.choice(k, n)
    groups = np.arange(n) // per_group
    logits = noise.normal(size=(n, k)) + noise.normal(size=(groups.max() + 1, k))[groups]
    logits[np.arange(n), y] += skill
    proba = np.exp(logits)
    columns = {
        "group": [f"g{group}" for group in groups],
        "source": [("desk", "field")[group % 2] for group in groups],
        "answerer": [("ada", "bea", "cy")[row % 3] for row in range(n)],
        "fold": [str(group % folds + 1) for group in groups],
    }
    return Predicted([f"r{row:04d}" for row in range(n)], y, proba / proba.sum(axis=1, keepdims=True), columns)


def frame_of(rows):
    columns = {"id": rows.ids, **rows.columns, "y": rows.y}
    return pl.DataFrame(columns | {f"p_{c}": rows.proba[:, c] for c in range(rows.proba.shape[1])})


def write_run(
    folder, task=REFUSAL, skills=None, n=120, data_hash="ab" * 32, protocols=("test", "cv"), rows_seed=0
):
    """A run folder of one task with models named after their place; the best wins."""
    skills = skills or {"rules": 0.5, "good": 2.0, "better": 2.2}
    for place, (name, skill) in enumerate(skills.items()):
        for protocol in protocols:
            path = folder / "predictions" / task.name / name / f"{protocol}.parquet"
            path.parent.mkdir(parents=True, exist_ok=True)
            rows = simulate(skill, n, len(task.labels), seed=place + 10, rows_seed=rows_seed)
            frame_of(rows).write_parquet(path)
    models = [{"model": name, "status": "ok"} for name in skills] + [{"model": "broken", "status": "failed"}]
    entry = {"task": task.model_dump(mode="json"), "models": models, "winner": list(skills)[-1]}
    entry["data"] = {"hash": data_hash}
    results = {"name": folder.name, "tasks": {task.name: entry}}
    (folder / "experiment_results.json").write_text(json.dumps(results), encoding="utf-8")
    config = {"draws": 200, "level": 0.9, "seed": 5}
    (folder / "run.json").write_text(json.dumps({"config": config}), encoding="utf-8")
    return folder


@pytest.fixture
def fast():
    """Few draws and swaps."""
    return FAST


@pytest.fixture
def task():
    return REFUSAL


@pytest.fixture
def two_class():
    return JAILBREAK


@pytest.fixture
def judged():
    """Maker of predictions: ``judged(skill, n=, k=, seed=)``."""
    return simulate


@pytest.fixture
def run_of(tmp_path):
    """Maker of run folders: ``run_of(name, skills=...)``."""
    return lambda name="run", **options: write_run(tmp_path / name, **options)
