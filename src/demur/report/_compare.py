"""The winner against the other models, from the run's statistics, and the errors a model was surest of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from demur.analysis import Predicted
from demur.metrics import Estimate
from demur.report._run import RunView
from demur.report._views import TaskView, finite, has_interval

METRICS = ("custom_score", "f1_macro")
_SIGNED = ("difference", "low", "high")


@dataclass(frozen=True)
class Difference:
    """Winner minus another model in one metric, on the rows both judged under one protocol."""

    winner: str
    other: str
    protocol: str
    metric: str
    a: float | None
    b: float | None
    difference: Estimate
    share_better: float | None
    p: float | None = None
    """Chance of such a difference between equal models, adjusted over all pairs of the protocol."""
    alpha: float = 0.05

    @property
    def is_shown(self) -> bool:
        """Whether the interval lies above zero and the adjusted p-value, where there is one, is small."""
        return self._is_apart and (self.difference.low or 0) > 0 and self._is_rare

    @property
    def verdict(self) -> str:
        """What interval and adjusted p-value allow to say."""
        if not has_interval(self.difference):
            return "cannot be said"
        if not self._is_apart:
            return "no difference shown"
        if not self._is_rare:
            return "not beyond many tests"
        return "better" if (self.difference.low or 0) > 0 else "worse"

    @property
    def _is_apart(self) -> bool:
        difference = self.difference
        return has_interval(difference) and ((difference.low or 0) > 0 or (difference.high or 0) < 0)

    @property
    def _is_rare(self) -> bool:
        return self.p is None or self.p <= self.alpha


@dataclass(frozen=True)
class Mistake:
    """A row a model got wrong; the row is named by its id, never by its text."""

    id: str
    true: str
    called: str
    confidence: float
    source: str | None
    answerer: str | None


def differences(run: RunView, task: TaskView) -> list[Difference]:
    """The winner against every other model under every protocol both went through, two metrics each."""
    winner = task.winner
    if winner is None:
        return []
    alpha = 1 - run.level
    return [
        _read(facing(pair, winner.name), protocol, metric, alpha)
        for protocol, found in (run.statistics(task).get("protocols") or {}).items()
        for pair in found.get("pairs") or ()
        if winner.name in (pair["a"], pair["b"])
        for metric in METRICS
        if metric in pair["metrics"]
    ]


def facing(pair: Mapping[str, Any], first: str | None) -> dict[str, Any]:
    """A pair of the statistics with ``first`` as its model a, the signs turned where it was b."""
    if pair["b"] != first or pair["a"] == first:
        return dict(pair)
    metrics = {name: _turned(one) for name, one in pair["metrics"].items()}
    counts = dict(pair.get("mcnemar") or {})
    if counts:
        counts |= {"only_a": counts.get("only_b"), "only_b": counts.get("only_a")}
    return dict(pair) | {"a": pair["b"], "b": pair["a"], "metrics": metrics, "mcnemar": counts}


def _turned(one: Mapping[str, Any]) -> dict[str, Any]:
    negative = {name: None if one.get(name) is None else -one[name] for name in _SIGNED}
    share = one.get("share_a_better")
    return dict(one) | {
        "a": one.get("b"),
        "b": one.get("a"),
        "difference": negative["difference"],
        "low": negative["high"],
        "high": negative["low"],
        "share_a_better": None if share is None else 1 - share,
    }


def _read(pair: Mapping[str, Any], protocol: str, metric: str, alpha: float) -> Difference:
    one = pair["metrics"][metric]
    values = {name: finite(one.get(name)) for name in (*_SIGNED, "a", "b", "share_a_better", "p_holm")}
    estimate = Estimate(
        values["difference"], values["low"], values["high"], int(pair.get("n") or 0), one.get("reason")
    )
    return Difference(
        winner=str(pair["a"]),
        other=str(pair["b"]),
        protocol=protocol,
        metric=metric,
        a=values["a"],
        b=values["b"],
        difference=estimate,
        share_better=values["share_a_better"],
        p=values["p_holm"],
        alpha=alpha,
    )


def worst_mistakes(task: TaskView, rows: Predicted, limit: int = 10) -> list[Mistake]:
    """The wrong rows with the highest confidence, the surest first."""
    called, confidence = rows.called, rows.proba.max(axis=1)
    wrong = np.flatnonzero(called != rows.y)
    order = wrong[np.argsort(-confidence[wrong], kind="stable")][:limit]
    sources, answerers = rows.column("source"), rows.column("answerer")
    return [
        Mistake(
            id=rows.ids[row],
            true=task.labels[int(rows.y[row])],
            called=task.labels[int(called[row])],
            confidence=float(confidence[row]),
            source=sources[row],
            answerer=answerers[row],
        )
        for row in (int(number) for number in order)
    ]
