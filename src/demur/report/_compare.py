"""Paired differences between two models of a run, and the errors a model was surest of."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from demur.metrics import Estimate, compare
from demur.analysis import Predicted, align
from demur.report._run import RunView
from demur.report._views import ModelView, TaskView, has_interval

COMPARED = ("test", "cv", "leave_one_model_out", "leave_one_source_out", "blind")
"""Protocols whose rows models are compared on: never those the winner was chosen on."""


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

    @property
    def is_shown(self) -> bool:
        """Whether the interval lies above zero."""
        return has_interval(self.difference) and (self.difference.low or 0) > 0

    @property
    def verdict(self) -> str:
        """What the interval allows to say."""
        if not has_interval(self.difference):
            return "cannot be said"
        if self.is_shown:
            return "better"
        return "worse" if (self.difference.high or 0) < 0 else "no difference shown"


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
    """The winner against the rules and against the runner-up, under every protocol both went through."""
    winner = task.winner
    if winner is None:
        return []
    others = [model for model in (task.rules, task.runner_up) if model and model.name != winner.name]
    found = (
        paired_difference(run, task, winner, other, protocol, metric)
        for other in others
        for protocol in COMPARED
        for metric in ("custom_score", "f1_macro")
    )
    return [difference for difference in found if difference]


def paired_difference(
    run: RunView, task: TaskView, first: ModelView, second: ModelView, protocol: str, metric: str
) -> Difference | None:
    """``first − second`` on the rows both have; None where one of them has no predictions."""
    pair = [run.predictions(task.name, model.name, protocol) for model in (first, second)]
    a, b = pair
    if a is None or b is None or a.proba.shape[1] != len(task.labels) or b.proba.shape[1] != len(task.labels):
        return None
    a, b = align(a, b)
    if not len(a):
        return None
    result = compare(
        task.definition,
        a.y,
        a.proba,
        b.proba,
        a.groups,
        metric=metric,
        draws=run.draws,
        level=run.level,
        seed=run.seed,
    )
    return Difference(
        winner=first.name,
        other=second.name,
        protocol=protocol,
        metric=metric,
        a=result.a,
        b=result.b,
        difference=result.difference,
        share_better=result.share_a_better,
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
