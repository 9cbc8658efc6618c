"""What a judge would score that never reads a text and knows only where a row comes from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from demur.analysis._config import AnalysisConfig
from demur.analysis._pairs import Difference, compare_pairs
from demur.analysis._predicted import Loader, Predicted
from demur.data import Records
from demur.metrics import security_score
from demur.tasks import Task

SEES = {
    "nothing": (),
    "source": ("source",),
    "answering model": ("answerer",),
    "source and answering model": ("source", "answerer"),
}
"""What a baseline knows of a row."""
RULES = ("most frequent", "most telling", "best scoring")
"""Which label it calls: the most frequent among training rows like it; the one most over its overall share; or,
knowing nothing, the one that has the highest security score if every training row is called it."""
_TESTED = ("test", "cv")
_WINNER = "winner"


@dataclass(frozen=True)
class Baseline:
    """A judge without texts, and how much better than it the winner is on the same rows."""

    sees: str
    rule: str
    protocol: str
    n: int
    metrics: dict[str, Difference]
    """The winner less the baseline."""


def label_shares(
    train_y: NDArray[np.int64], train_keys: Sequence[Any], test_keys: Sequence[Any], k: int
) -> NDArray[np.float64]:
    """Shares of the labels among the training rows with the same key, ``(n, k)``; of all rows for a new key."""
    overall = np.bincount(train_y, minlength=k) / max(len(train_y), 1)
    counts: dict[Any, NDArray[np.float64]] = {}
    for label, key in zip(train_y, train_keys, strict=True):
        counts.setdefault(key, np.zeros(k))[label] += 1
    shares = {key: found / found.sum() for key, found in counts.items()}
    return np.array([shares.get(key, overall) for key in test_keys]).reshape(-1, k)


def score_baselines(
    task: Task, winner: str, load: Loader, records: Records | None, config: AnalysisConfig
) -> list[Baseline]:
    """Every baseline without texts under the protocols whose training rows are known, against the winner.

    Parameters
    ----------
    task
        The task.
    winner
        The model to compare them with.
    load
        Reader of its predictions.
    records
        All rows of the task; without them the test split's training rows are not known and it is left out.
    config
        Draws, level, seed and figures.
    """
    found: list[Baseline] = []
    for protocol in _TESTED:
        rows = load(winner, protocol)
        if rows is None or not len(rows):
            continue
        parts = _parts(task, rows, protocol, winner, load, records)
        if parts:
            found += _compare(task, rows, parts, protocol, config)
    return found


@dataclass(frozen=True)
class _Part:
    """Rows to judge, by place, and the rows a baseline may learn from."""

    places: NDArray[np.int64]
    train_y: NDArray[np.int64]
    train: dict[str, list[str | None]]


def _parts(
    task: Task, rows: Predicted, protocol: str, winner: str, load: Loader, records: Records | None
) -> list[_Part]:
    if protocol == "cv":
        folds = np.array(rows.column("fold"), dtype=object)
        parts = []
        for fold in dict.fromkeys(rows.column("fold")):
            rest = rows.take(np.flatnonzero(folds != fold))
            train = {name: rest.column(name) for name in ("source", "answerer")}
            parts.append(_Part(np.flatnonzero(folds == fold), rest.y, train))
        return parts if len(parts) > 1 else []
    if records is None:
        return []
    valid = load(winner, "valid")
    held = {*rows.ids, *(valid.ids if valid else ())}
    kept = records.take(np.flatnonzero([identity not in held for identity in records.texts("id")]))
    if not len(kept):
        return []
    train = {"source": list(kept.column("source")), "answerer": list(kept.column("model"))}
    return [_Part(np.arange(len(rows)), kept.targets(task), train)]


def _compare(
    task: Task, rows: Predicted, parts: Sequence[_Part], protocol: str, config: AnalysisConfig
) -> list[Baseline]:
    judged: dict[str, Predicted] = {_WINNER: rows}
    for sees, columns in SEES.items():
        values = [rows.column(column) for column in columns]
        kinds = [len(set(found)) for found in values]
        # Where each answering model is of one source, knowing both is knowing the one.
        if min(kinds, default=2) < 2 or (len(kinds) > 1 and len(set(zip(*values, strict=True))) == max(kinds)):
            continue
        for rule in RULES[:2] if columns else RULES[::2]:
            proba = _judge(task, rows, parts, columns, rule)
            judged[f"{sees}|{rule}"] = Predicted(rows.ids, rows.y, proba, rows.columns)
    chosen = [(_WINNER, name) for name in judged if name != _WINNER]
    pairs = compare_pairs(task, judged, "baseline", config, chosen)
    found = []
    for pair in pairs:
        sees, rule = pair.b.split("|")
        found.append(Baseline(sees, rule, protocol, pair.n, dict(pair.metrics)))
    return found


def _judge(
    task: Task, rows: Predicted, parts: Sequence[_Part], columns: Sequence[str], rule: str
) -> NDArray[np.float64]:
    k = len(task.labels)
    proba = np.full((len(rows), k), 1 / k)
    for part in parts:
        if rule == RULES[2]:
            proba[part.places] = np.eye(k)[_best_label(task, part.train_y)]
            continue
        train = list(zip(*(part.train[column] for column in columns), strict=True)) or [()] * len(part.train_y)
        values = [rows.column(column) for column in columns]
        keys = [tuple(column[place] for column in values) for place in part.places]
        shares = label_shares(part.train_y, train, keys, k)
        if rule == RULES[1]:
            overall = label_shares(part.train_y, [()] * len(part.train_y), [()], k)
            shares = shares / np.where(overall > 0, overall, 1)
            shares = shares / shares.sum(axis=1, keepdims=True)
        proba[part.places] = shares
    return proba


def _best_label(task: Task, y: NDArray[np.int64]) -> int:
    scores = [security_score(task, y, np.full(len(y), label)).value for label in range(len(task.labels))]
    return int(np.argmax(scores))
