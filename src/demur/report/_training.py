"""How the models came about, as rows of tables: seeds and folds, search, adaptive class weights, lost fits."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from demur.report import _words as words
from demur.report._run import RunView
from demur.report._views import ModelView, TaskView, finite

METRICS = ("custom_score", "f1_macro")


def spread_of(model: ModelView, kind: str, metric: str) -> dict[str, Any] | None:
    """Mean, standard deviation and number over ``seeds`` (of the test rows) or ``folds``; None without."""
    if kind == "seeds":
        evaluations = (model.raw.get("seeds") or {}).get("evaluations") or {}
        found = (evaluations.get("test") or {}).get(metric)
    else:
        found = ((model.raw.get("evaluations") or {}).get("cv") or {}).get("over_folds", {}).get(metric)
    if not isinstance(found, Mapping) or finite(found.get("mean")) is None:
        return None
    n = finite(found.get("n"))
    n = len(found.get("values") or ()) if n is None else int(n)
    return {"mean": finite(found["mean"]), "std": finite(found.get("std")), "n": n}


def spread_rows(task: TaskView) -> list[dict[str, Any]]:
    """Mean ± standard deviation of each model over folds and over seeds, where there are any."""
    rows = []
    for model in task.ranked():
        cells = [spread_of(model, kind, metric) for kind in ("folds", "seeds") for metric in METRICS]
        if any(cells):
            rows.append({"model": model, "cells": [_shown(cell) for cell in cells]})
    return rows


def _shown(found: Mapping[str, Any] | None) -> str:
    if found is None:
        return words.MISSING
    spread = "" if found["std"] is None else f" ± {words.number(found['std'])}"
    return f"{words.number(found['mean'])}{spread} (n = {found['n']})"


def search_rows(task: TaskView) -> list[dict[str, Any]]:
    """What tuning tried, what it cost, and what it chose."""
    rows = []
    for model in task.usable:
        search = model.raw.get("search")
        if not isinstance(search, Mapping):
            continue
        rows.append(
            {
                "model": model,
                "method": str(search.get("method") or words.MISSING),
                "trials": words.count(search.get("trials")),
                "pruned": words.count(search.get("pruned")),
                "seconds": words.duration(search.get("seconds")),
                "before": words.number(search.get("default_score")),
                "after": words.number(search.get("score")),
                "nested": "yes" if search.get("nested") else "no",
                "params": settings_text(search.get("params") or model.best_params),
            }
        )
    return rows


def settings_text(params: Mapping[str, Any]) -> str:
    """Settings as ``name = value``, joined."""
    return ", ".join(
        f"{key} = {json.dumps(value, ensure_ascii=False, default=str)}" for key, value in params.items()
    )


def trajectory_of(run: RunView, task: TaskView, model: ModelView) -> dict[str, Any] | None:
    """How a model's class weights moved on this task; of several heads the task's own."""
    found = run.trajectory(task.name, model.name)
    if found is None:
        return None
    own = found.get(task.name, found)
    return dict(own) if isinstance(own, Mapping) and isinstance(own.get("changes"), list) else None


def weight_rows(run: RunView, task: TaskView) -> list[dict[str, Any]]:
    """Where adaptive class weights began and ended, and what moved them most often."""
    rows = []
    for model in task.usable:
        found = trajectory_of(run, task, model)
        if found is None:
            continue
        causes = [str(change.get("metric")) for change in found["changes"] if isinstance(change, Mapping)]
        often = max(dict.fromkeys(causes), key=causes.count, default=None)
        rows.append(
            {
                "model": model,
                "initial": _weights(found.get("initial"), task.labels),
                "final": _weights(found.get("final_alpha"), task.labels),
                "changes": len(causes),
                "cause": words.MISSING if often is None else words.metric_name(often, task.labels),
            }
        )
    return rows


def final_weights(model: ModelView, trajectory: Mapping[str, Any] | None) -> Any:
    """The class weights a model ended with: its own figure, or its trajectory's; None where it had none."""
    stored = model.raw.get("final_alpha", model.best_params.get("final_alpha"))
    return stored if stored is not None else (trajectory or {}).get("final_alpha")


def _weights(found: Any, labels: list[str]) -> str:
    if isinstance(found, Mapping):
        values = [found.get(label) for label in labels]
    else:
        values = list(found) if isinstance(found, list) else []
    return ", ".join(words.number(value, 2) for value in values) or words.MISSING


def lost_fits(task: TaskView) -> list[str]:
    """Fits of protocols that were left out, or lacked a class, in words."""
    said = []
    for one in task.raw.get("protocols") or ():
        if not isinstance(one, Mapping):
            continue
        place = f"{words.protocol_name(one.get('protocol'))}, {one.get('fold')}"
        if one.get("status") != "ok":
            said.append(f"{place}: left out, {one.get('reason') or 'no reason was recorded'}")
            continue
        for key, rows in (("missing_train", "training"), ("missing_test", "test")):
            if one.get(key):
                said.append(f"{place}: no {rows} row of {words.join_words([str(label) for label in one[key]])}")
    return list(dict.fromkeys(said))
