"""The tables of the page as plain rows; every table holds figures of one cohort, or names each column's."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from demur.metrics import Estimate
from demur.report import _words as words
from demur.report._run import RunView
from demur.report._views import PROTOCOLS, ModelView, TaskView, finite

LEAGUE = (
    "custom_score",
    "f1_macro",
    "roc_auc",
    "pr_auc",
    "false_alarm_rate",
    "missed_threat_rate",
    "recall_at_fpr_1",
    "ece",
)
_METRIC_WORDS = {"recall": "recall", "precision": "precision", "f1": "F1"}
_SPLITS = ("train", "valid", "test", "blind")
_MOST_VALUES = 20
_MOST_HELD_OUT = 6
"""Models beside each other where something is held out."""


@dataclass(frozen=True)
class Column:
    """A column of figures: what its head says, and the rows it is of."""

    title: str
    note: str = ""


@dataclass(frozen=True)
class Table:
    """Figures by model; ``cells`` follow ``columns``; a failed model has a reason in place of figures."""

    caption: str
    columns: list[Column]
    rows: list[Row]


@dataclass(frozen=True)
class Row:
    """One line of a table: a model, a class or a held-out value."""

    name: str
    cells: list[Estimate]
    note: str = ""
    is_winner: bool = False
    failure: str | None = None
    """Why there are no figures, where a model failed or was skipped."""
    status: str = "ok"
    thresholds: tuple[str, ...] = ()
    """The thresholds it misses."""


def score_formula(task: TaskView) -> str:
    """The task's security score in words: weighted terms, and the punishment of critical errors."""
    scoring = task.definition.scoring
    terms = " + ".join(f"{term.weight:g} × {_METRIC_WORDS[term.metric]} of {term.label}" for term in scoring.terms)
    if not scoring.critical:
        return terms
    pairs = " + ".join(f"share of {true} called {called}" for true, called in scoring.critical)
    return f"({terms}) × exp(−{scoring.factor:g} × ({pairs}))"


def league(task: TaskView) -> Table:
    """Every model, the rules first, with the main figures of the main protocol."""
    evaluation = next((m.evaluations[task.main_protocol] for m in task.usable if task.main_protocol), None)
    metrics = [name for name in LEAGUE if any(m.metric(name).value is not None for m in task.usable)]
    shown = metrics or list(LEAGUE[:2])
    place = words.protocol_name(task.main_protocol)
    size = (
        f", n = {words.count(evaluation.n)} rows in {words.count(evaluation.groups)} groups" if evaluation else ""
    )
    order = _order(task)
    left = [m for m in task.models if m.name not in {model.name for model in order}]
    rows = [_row(task, model, [model.metric(name) for name in shown]) for model in (*order, *left)]
    return Table(f"League: {place}{size}", [Column(_head(name)) for name in shown], rows)


def protocol_table(task: TaskView) -> Table | None:
    """Macro-F1 of every model under each protocol; each column names its cohort."""
    protocols = [name for name in PROTOCOLS if any(name in model.evaluations for model in task.usable)]
    if len(protocols) < 2:
        return None
    columns = []
    for name in protocols:
        evaluation = next(model.evaluations[name] for model in task.usable if name in model.evaluations)
        note = f"n = {words.count(evaluation.n)}"
        columns.append(
            Column(_capital(words.protocol_name(name)), note + (", used to choose" if name == "valid" else ""))
        )
    rows = [_row(task, model, [model.metric("f1_macro", name) for name in protocols]) for model in _order(task)]
    return Table("Macro-F1 under each protocol; the columns are different rows", columns, rows)


def class_table(task: TaskView) -> Table | None:
    """Precision, recall and F1 of each class for the winner, as one row a class."""
    winner = task.winner
    if winner is None or not winner.main_protocol:
        return None
    place = words.protocol_name(winner.main_protocol)
    rows = []
    for number, label in enumerate(task.labels):
        cells = [winner.metric(f"{kind}_c{number}") for kind in ("precision", "recall", "f1")]
        rows.append(Row(label, cells))
    return Table(f"Classes of {winner.name}: {place}", [Column("Precision"), Column("Recall"), Column("F1")], rows)


def fold_tables(task: TaskView) -> list[Table]:
    """Macro-F1 with one answering model or source held out at a time, for the models that matter most."""
    tables = []
    for protocol in ("leave_one_model_out", "leave_one_source_out"):
        have = _held_out(task, protocol)
        if not have:
            continue
        names = list(dict.fromkeys(fold for model in have for fold in model.evaluations[protocol].folds))
        rows = []
        for name in names[:_MOST_VALUES]:
            folds = [model.evaluations[protocol].folds.get(name) for model in have]
            size = max((fold.n or 0 for fold in folds if fold), default=0)
            cells = [fold.get("f1_macro") if fold else Estimate(None, None, None, 0) for fold in folds]
            rows.append(Row(name, cells, f"n = {words.count(size)}"))
        what = "answering model" if protocol == "leave_one_model_out" else "source"
        tables.append(Table(f"Macro-F1 on each held-out {what}", [Column(model.name) for model in have], rows))
    return tables


def _held_out(task: TaskView, protocol: str) -> list[ModelView]:
    """Rules, winner, runner-up and those that do best when something is held out; each only if it was tried so."""
    best = sorted(task.models, key=lambda model: -(model.metric("f1_macro", protocol).value or 0.0))
    chosen = [model for model in (task.rules, task.winner, task.runner_up, *best) if model]
    have = [model for model in chosen if model.evaluations.get(protocol) and model.evaluations[protocol].folds]
    return list({model.name: model for model in have}.values())[:_MOST_HELD_OUT]


def data_table(task: TaskView) -> dict[str, Any]:
    """Counts of classes, sources and answering models in each split."""
    splits = {name: task.splits[name] for name in _SPLITS if name in task.splits}
    splits |= {name: split for name, split in task.splits.items() if name not in splits}
    blocks = []
    for key, title, order in (
        ("classes", "Class", task.labels),
        ("sources", "Source", None),
        ("answerers", "Answering model", None),
    ):
        names = order or _by_size(splits, key)
        if not names:
            continue
        rows = [(name, [_share(split, key, name) for split in splits.values()]) for name in names[:_MOST_VALUES]]
        blocks.append({"title": title, "rows": rows, "more": max(len(names) - _MOST_VALUES, 0)})
    return {
        "splits": [_SPLIT_NAMES.get(name, name) for name in splits],
        "rows": [split.get("n") for split in splits.values()],
        "groups": [split.get("groups") for split in splits.values()],
        "blocks": blocks,
    }


_SPLIT_NAMES = {"train": "Training", "valid": "Validation", "test": "Test", "blind": "Blind set"}


def _by_size(splits: Mapping[str, Mapping[str, Any]], key: str) -> list[str]:
    total: dict[str, float] = {}
    for split in splits.values():
        for name, n in (split.get(key) or {}).items():
            total[str(name)] = total.get(str(name), 0) + (finite(n) or 0)
    names = sorted(total, key=lambda name: (-total[name], name))
    return [] if names == ["(none)"] else names


def _share(split: Mapping[str, Any], key: str, name: str) -> dict[str, Any]:
    n, whole = finite((split.get(key) or {}).get(name)) or 0, finite(split.get("n"))
    return {"n": int(n), "share": f"{n / whole:.0%}".replace("%", " %") if whole and n else ""}


def cost_rows(task: TaskView) -> list[dict[str, Any]]:
    """What each finished model costs, and the settings its tuning chose."""
    return [
        {
            "model": model,
            "is_winner": model.name == task.raw.get("winner"),
            "fit": words.duration(model.number("fit_s")),
            "p50": words.measured(model.number("latency_ms_p50")),
            "p95": words.measured(model.number("latency_ms_p95")),
            "rate": words.count(model.number("throughput_per_s")),
            "memory": words.count(model.number("peak_memory_mb")),
            "size": words.measured(model.number("size_mb")),
            "params": ", ".join(
                f"{key} = {json.dumps(value, ensure_ascii=False, default=str)}"
                for key, value in model.best_params.items()
            ),
        }
        for model in _order(task)
    ]


def cleaning_rows(run: RunView) -> list[dict[str, Any]]:
    """The cleaning steps with the rows before and after each, for each part of the data."""
    return [
        {
            "part": part,
            "name": str(step.get("step") or "").replace("_", " "),
            "cells": [finite(step.get(key)) for key in ("rows_in", "changed", "rejected", "rows_out")],
            "note": str(step.get("note") or ""),
        }
        for part, report in run.cleaning.items()
        for step in report
    ]


def _order(task: TaskView) -> list[ModelView]:
    """The finished models: the rules first, then by security score."""
    return sorted(task.ranked(), key=lambda model: not model.is_rules)


def _row(task: TaskView, model: ModelView, cells: list[Estimate]) -> Row:
    return Row(
        name=model.name,
        cells=cells,
        note="keyword baseline" if model.is_rules else model.family,
        is_winner=model.name == task.raw.get("winner"),
        failure=None if model.is_ok else model.reason or "no reason was recorded",
        status=model.status,
        thresholds=tuple(model.failed_thresholds),
    )


def _head(metric: str) -> str:
    return _capital(words.metric_name(metric))


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
