"""One trial of a search: settings fitted and scored on grouped folds of the training rows.

A trial that fails is a row with its reason. What to try is left to ``_search_grid`` and ``_search_optuna``.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from demur.config import Settings
from demur.data import Records, cross_validate
from demur.errors import DemurError, StorageError, TrainingError, is_disk_full, translate_os_error
from demur.experiment._search_space import Params, apply_params
from demur.metrics import Scorer
from demur.models import BaseClassifier
from demur.tasks import Task

Rows = NDArray[np.int64]
State = Literal["complete", "pruned", "failed"]
Report = Callable[[float, int], None]


class FitRows(Protocol):
    """Makes a classifier of some settings and fits it on rows of the search's records, by position."""

    def __call__(
        self, settings: Any, rows: Rows, on_progress: Callable[[Any], None] | None = None
    ) -> BaseClassifier[Any]:
        """Fit; ``on_progress`` is called as the classifier's own, and may raise to end the fit."""
        ...


class TrialPruned(Exception):  # noqa: N818 - no error: a trial's early end
    """The trial is worse than others were at this point."""


@dataclass(frozen=True)
class Problem:
    """What every trial of a search shares.

    Parameters
    ----------
    task, records
        The task, and the records that row positions are of.
    folds
        Row positions to fit on and to score on, a pair a fold.
    settings
        The settings without a search.
    fit
        See :class:`FitRows`.
    scorer
        Greater is better.
    most_epochs
        Passes over the rows of the longest fit, 0 for families that do not train in steps.
    has_own_score
        Whether the validations of a training judge this task alone, as the folds do; those of a family that
        learns several tasks at once do not, and are not reported.
    """

    task: Task
    records: Records
    folds: tuple[tuple[Rows, Rows], ...]
    settings: Settings
    fit: FitRows
    scorer: Scorer
    most_epochs: int = 0
    has_own_score: bool = True
    failures: dict[str, str] = field(default_factory=dict)
    """Reasons of failed fits, by the key of their settings."""

    def __deepcopy__(self, memo: object) -> Problem:
        """Itself: scikit-learn copies what an estimator is made of, and rows need no copy."""
        return self


@dataclass
class Trial:
    """What became of one combination of values."""

    params: Params
    state: State = "complete"
    scores: list[float] = field(default_factory=list)
    """Of each fold that was done."""
    fits: int = 0
    epochs: float = 0.0
    """Passes over the rows of a fold, summed; one a fit for families that do not train in steps."""
    seconds: float = 0.0
    reason: str | None = None

    @property
    def score(self) -> float | None:
        """The mean over the folds done; None before the first."""
        return float(np.mean(self.scores)) if self.scores else None

    @property
    def std(self) -> float | None:
        """The standard deviation over the folds done, as of a sample; None below two."""
        return float(np.std(self.scores, ddof=1)) if len(self.scores) > 1 else None


def make_folds(records: Records, task: Task, rows: Rows, folds: int, seed: int) -> tuple[tuple[Rows, Rows], ...]:
    """Grouped, stratified folds of some rows, as pairs of row positions in the records.

    Fewer groups than folds make them fewer.

    Raises
    ------
    TrainingError
        The rows form a single group.
    """
    part = records.take(rows)
    groups = len(np.unique(part.groups()))
    if groups < 2:
        raise TrainingError(
            f"a search needs at least 2 groups of training rows, there is {groups}; give more prompts or "
            "leave search out"
        )
    splits = cross_validate(part, task, min(folds, groups), seed)
    return tuple((rows[split.train], rows[split.test]) for split in splits)


def run_trial(problem: Problem, params: Params, report: Report | None = None) -> Trial:
    """Fit and score settings on every fold.

    Parameters
    ----------
    problem, params
        What is searched, and the values to try.
    report
        Told the mean so far and how far the trial is, after every fold and validation; ends the trial by
        raising :class:`TrialPruned`.

    Raises
    ------
    StorageError
        The disk is full.
    """
    trial = Trial(params)
    started = time.perf_counter()
    try:
        settings = apply_params(problem.settings, params)
        for train, test in problem.folds:
            watch = _Watch(problem, trial, report)
            trial.fits += 1
            try:
                classifier = problem.fit(settings, train, watch if problem.most_epochs else None)
            finally:
                trial.epochs += watch.epochs or 1
            trial.scores.append(score_rows(problem, classifier, test))
            if report is not None and len(trial.scores) < len(problem.folds):
                report(float(np.mean(trial.scores)), len(trial.scores) * (problem.most_epochs + 1))
    except TrialPruned:
        trial.state = "pruned"
    except Exception as error:  # one trial's fault must not end the search; MemoryError is one
        trial.state, trial.reason = "failed", describe_failure(error)
    trial.seconds = time.perf_counter() - started
    return trial


def score_rows(problem: Problem, classifier: BaseClassifier[Any], rows: Rows) -> float:
    """The scorer's figure of a fitted classifier on rows.

    Raises
    ------
    TrainingError
        The classifier gives NaN, or the rows do not allow the figure.
    """
    part = problem.records.take(rows)
    score = problem.scorer(_Fitted(classifier), part, part.targets(problem.task))
    if not np.isfinite(score):
        raise TrainingError(
            f"'{problem.scorer.name}' is not defined on a fold of {len(rows)} rows; "
            "take another metric or fewer folds"
        )
    return score


def predict_rows(classifier: BaseClassifier[Any], records: Records) -> NDArray[np.float64]:
    """Probabilities ``(n, k)`` of a fitted classifier.

    Raises
    ------
    TrainingError
        Some are NaN or infinite.
    """
    probabilities = classifier.predict_proba(records)
    bad = int((~np.isfinite(probabilities)).any(axis=1).sum())
    if bad:
        raise TrainingError(
            f"the fitted model gives NaN or infinite probabilities for {bad} of {len(records)} rows"
        )
    return probabilities


def describe_failure(error: Exception) -> str:
    """Why a fit failed, in one line; a full disk is raised instead.

    Raises
    ------
    StorageError
        The disk is full: every further trial would fail.
    """
    if isinstance(error, StorageError):
        raise error
    if is_disk_full(error):
        raise translate_os_error(error, "searching") from error
    words = " ".join(str(error).split())
    if not isinstance(error, DemurError):
        words = f"{type(error).__name__}: {words}" if words else type(error).__name__
    return words[:300]


class _Fitted:
    """A fitted classifier as scorers call it: classes are ids of the task, in order."""

    def __init__(self, classifier: BaseClassifier[Any]) -> None:
        self._classifier = classifier

    def predict_proba(self, records: Records) -> NDArray[np.float64]:
        return predict_rows(self._classifier, records)

    def predict(self, records: Records) -> NDArray[np.int64]:
        return np.asarray(self.predict_proba(records).argmax(axis=1), dtype=np.int64)


class _Watch:
    """Listens to one fit: counts its epochs, and reports every validation as part of the trial's mean."""

    def __init__(self, problem: Problem, trial: Trial, report: Report | None) -> None:
        self.epochs = 0.0
        self._done = list(trial.scores)
        self._most = problem.most_epochs
        self._first_step = len(self._done) * (problem.most_epochs + 1)
        # A training validates by the security score; another figure of the folds cannot be mixed with it.
        self._report = report if problem.has_own_score and problem.scorer.name == "custom_score" else None
        self._step = -1
        self._told = 0
        self._best = -np.inf

    def __call__(self, progress: Any) -> None:
        self.epochs = max(self.epochs, float(progress.epoch))
        is_validation = progress.step == self._step  # the step itself was told before
        self._step = progress.step
        if self._report is None or progress.score is None or not is_validation:
            return
        self._best = max(self._best, progress.score)
        epoch = min(int(progress.epoch + 1e-6), self._most)
        if epoch > self._told:
            self._told = epoch
            self._report(float(np.mean([*self._done, self._best])), self._first_step + epoch)
