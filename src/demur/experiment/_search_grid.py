"""Every combination of a small grid, through scikit-learn's ``GridSearchCV``."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

from demur.errors import StorageError
from demur.experiment._search_adapter import SearchEnded, as_estimator
from demur.experiment._search_space import Space, params_key
from demur.experiment._search_trial import Problem, Trial


def run_grid(problem: Problem, space: Space, jobs: int, tell: Callable[[str], None]) -> list[Trial]:
    """Fit and score every combination on every fold.

    Parameters
    ----------
    problem, space
        What is searched, and the choices.
    jobs
        Processes; with more than one the reason of a failed fit is scikit-learn's.
    tell
        Told once how many combinations there are.

    Raises
    ------
    StorageError
        The disk is full.
    """
    from sklearn.model_selection import GridSearchCV, ParameterGrid

    grid: dict[str, list[Any]] = {name: list(dimension.choices) for name, dimension in sorted(space.items())}
    tell(f"a grid of {len(ParameterGrid(grid))} settings on {len(problem.folds)} folds")
    rows = np.unique(np.concatenate([np.concatenate(fold) for fold in problem.folds]))
    place = {int(row): at for at, row in enumerate(rows)}
    folds = [tuple(np.array([place[int(row)] for row in side]) for side in fold) for fold in problem.folds]
    search = GridSearchCV(
        as_estimator(problem), grid, scoring=problem.scorer, cv=folds, refit=False, n_jobs=jobs, error_score=np.nan
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # failed fits are told as trials, with their reasons
        try:
            search.fit(rows[:, None], problem.records.take(rows).targets(problem.task))
        except SearchEnded as ended:
            raise StorageError(str(ended)) from ended
        except ValueError as error:
            if "fits failed" not in str(error):
                raise
            return [_failed(problem, params, str(error)) for params in ParameterGrid(grid)]
    return _read_trials(problem, search.cv_results_)


def _read_trials(problem: Problem, results: dict[str, Any]) -> list[Trial]:
    count = len(problem.folds)
    scores = np.array([results[f"split{fold}_test_score"] for fold in range(count)])  # (folds, settings)
    trials = []
    for number, params in enumerate(results["params"]):
        seconds = float((results["mean_fit_time"] + results["mean_score_time"])[number] * count)
        found = scores[:, number]
        if np.isfinite(found).all():
            trial = Trial(params, "complete", found.tolist(), count, float(count), seconds)
        else:
            trial = _failed(problem, params, "")
            trial.seconds = seconds
        trials.append(trial)
    return trials


def _failed(problem: Problem, params: dict[str, Any], words: str) -> Trial:
    last = words.strip().splitlines()[-1].strip() if words.strip() else ""
    fallback = last or f"'{problem.scorer.name}' is not defined on a fold, or a fit failed in its own process"
    reason = problem.failures.get(params_key(params), fallback)
    count = len(problem.folds)
    return Trial(params, "failed", [], count, float(count), 0.0, reason[:300])
