"""``results.csv``: one row for each task and model, in an order and with bytes that equal runs share."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from demur.metrics import Estimate
from demur.paths import write_text
from demur.report._compare import facing
from demur.report._run import RunView
from demur.report._training import final_weights, spread_of, trajectory_of
from demur.report._views import EvaluationView, ModelView, TaskView, finite

_HEAD = (
    "model",
    "task",
    "precision_macro",
    "recall_macro",
    "f1_macro",
    "roc_auc",
    "best_params",
    "status",
    "f1_external",
    "precision_c1",
    "recall_c2",
    "f1_c0",
    "custom_score",
    "false_alarm_rate",
    "missed_threat_rate",
    "final_alpha",
    "per_class_f1",
)
_FIGURES = tuple(name for name in _HEAD[2:-2] if name not in ("best_params", "status"))
_MEASURED = ("fit_s", "latency_ms_p50", "latency_ms_p95", "throughput_per_s", "peak_memory_mb", "size_mb")
_FURTHER = ("valid", "cv", "leave_one_model_out", "leave_one_source_out", "blind")
_COMPARED = ("custom_score", "f1_macro")
_DECIMALS = 6
"""Decimals written: beyond what a rounding of the last bit on another processor can move."""

TIMING_COLUMNS: tuple[str, ...] = (
    "fit_s",
    "latency_ms_p50",
    "latency_ms_p95",
    "throughput_per_s",
    "peak_memory_mb",
)
"""The columns that differ between two runs that are otherwise equal; ``selected`` and ``failed_thresholds`` may
follow them where the configuration sets a threshold on one of these."""

RESULT_COLUMNS: tuple[str, ...] = (
    *_HEAD,
    *(f"{name}_{end}" for name in _FIGURES for end in ("low", "high")),
    "protocol",
    "n_test",
    "n_groups",
    "n_external",
    "family",
    "reason",
    "selected",
    "failed_thresholds",
    *_MEASURED,
    *(
        column
        for protocol in _FURTHER
        for column in (
            *(
                f"{protocol}_{metric}{end}"
                for metric in ("f1_macro", "custom_score")
                for end in ("", "_low", "_high")
            ),
            f"{protocol}_n",
        )
    ),
    *(
        f"{kind}_{metric}{end}"
        for kind in ("folds", "seeds")
        for metric in _COMPARED
        for end in ("_mean", "_std", "_count")
    ),
    *(
        f"winner_ahead_{metric}{end}"
        for metric in _COMPARED
        for end in ("", "_low", "_high", "_p_holm", "_folds_p_holm")
    ),
    "winner_mcnemar_p_holm",
)
"""All columns of ``results.csv``, in order."""


def write_results_csv(path: Path, results: Mapping[str, Any]) -> None:
    """Write ``results.csv`` from the contents of ``experiment_results.json`` and the curves beside ``path``.

    The main figures come from the protocol ``test``, or ``cv`` where there is no test split; the column
    ``protocol`` says which. ``f1_external`` is the macro-F1 on the blind set. ``winner_ahead_...`` is the
    winner's figure less the model's on the rows of ``protocol``, with p-values adjusted over all pairs of models
    (Holm). What is missing is an empty cell. Tasks stand in the order of the run; within one, the rules first,
    then the configuration's order.

    Raises
    ------
    StorageError
        The disk is full or not writable.
    """
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, RESULT_COLUMNS, lineterminator="\n")
    writer.writeheader()
    run = RunView(Path(path).parent)
    for name, raw in (results.get("tasks") or {}).items():
        task = TaskView(str(name), raw)
        for model in task.models:
            row = _row(task, model) | _spreads(model) | _tests(task, model)
            row["final_alpha"] = _json_or_number(final_weights(model, trajectory_of(run, task, model)))
            writer.writerow({column: _cell(value) for column, value in row.items()})
    write_text(Path(path), buffer.getvalue())


def _row(task: TaskView, model: ModelView) -> dict[str, Any]:
    protocol = model.main_protocol
    main = model.evaluations.get(protocol or "") or EvaluationView({})
    blind = model.evaluations.get("blind") or EvaluationView({})
    row: dict[str, Any] = {"model": model.name, "task": task.name, "status": model.status}
    row["best_params"] = _json(model.best_params)
    row["per_class_f1"] = _json(_per_class_f1(task, main)) if protocol else None
    for name in _FIGURES:
        _put(row, name, blind.get("f1_macro") if name == "f1_external" else main.get(name))
    row |= {"protocol": protocol, "n_test": main.n, "n_groups": main.groups, "n_external": blind.n}
    row |= {"family": model.family, "reason": model.reason, "selected": model.is_selected}
    row["failed_thresholds"] = "; ".join(model.failed_thresholds)
    row |= {name: model.number(name) for name in _MEASURED}
    for further in _FURTHER:
        evaluation = model.evaluations.get(further) or EvaluationView({})
        for name in ("f1_macro", "custom_score"):
            _put(row, f"{further}_{name}", evaluation.get(name))
        row[f"{further}_n"] = evaluation.n
    return row


def _spreads(model: ModelView) -> dict[str, Any]:
    """Mean, standard deviation and number over folds and over seeds."""
    row: dict[str, Any] = {}
    for kind in ("folds", "seeds"):
        for metric in _COMPARED:
            found = spread_of(model, kind, metric) or {}
            row |= {f"{kind}_{metric}_mean": found.get("mean"), f"{kind}_{metric}_std": found.get("std")}
            row[f"{kind}_{metric}_count"] = found.get("n")
    return row


def _tests(task: TaskView, model: ModelView) -> dict[str, Any]:
    """The winner against this model: differences, intervals and adjusted p-values."""
    protocols = (task.raw.get("statistics") or {}).get("protocols") or {}
    winner = task.raw.get("winner")
    main, folds = (_pair(protocols.get(name), winner, model.name) for name in (task.main_protocol, "cv"))
    row: dict[str, Any] = {"winner_mcnemar_p_holm": main.get("clustered_p_holm")}
    for metric in _COMPARED:
        one = (main.get("metrics") or {}).get(metric) or {}
        lead = f"winner_ahead_{metric}"
        row |= {lead: one.get("difference"), f"{lead}_low": one.get("low"), f"{lead}_high": one.get("high")}
        over_folds = ((folds.get("metrics") or {}).get(metric) or {}).get("t_p_holm")
        row |= {f"{lead}_p_holm": one.get("p_holm"), f"{lead}_folds_p_holm": over_folds}
    return row


def _pair(found: Mapping[str, Any] | None, winner: str | None, other: str) -> dict[str, Any]:
    for pair in (found or {}).get("pairs") or ():
        if winner != other and {pair["a"], pair["b"]} == {winner, other}:
            return facing(pair, winner)
    return {}


def _put(row: dict[str, Any], name: str, figure: Estimate) -> None:
    row |= {name: figure.value, f"{name}_low": figure.low, f"{name}_high": figure.high}


def _per_class_f1(task: TaskView, main: EvaluationView) -> dict[str, float | None]:
    values = {label: main.get(f"f1_c{number}").value for number, label in enumerate(task.labels)}
    return {label: None if value is None else round(value, _DECIMALS) for label, value in values.items()}


def _json(value: Mapping[str, Any]) -> str:
    return json.dumps(value, ensure_ascii=False, default=str)


def _json_or_number(value: Any) -> Any:
    return json.dumps(_rounded(value), ensure_ascii=False) if isinstance(value, list | dict) else value


def _rounded(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _rounded(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_rounded(item) for item in value]
    return round(value, _DECIMALS) if isinstance(value, float) else value


def _cell(value: Any) -> Any:
    """Text of a cell: booleans in lower case, floats rounded, nothing for what is missing."""
    if value is None or value == "":
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        number = finite(value)
        return "" if number is None else repr(round(number, _DECIMALS) + 0.0)  # + 0.0 turns -0.0 into 0.0
    return value
