"""A classifier as scikit-learn has estimators: the rows of ``X`` are positions in the search's records."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, ClassifierMixin

from demur.errors import StorageError
from demur.experiment._search_space import apply_params, params_key
from demur.experiment._search_trial import Problem, describe_failure, predict_rows


class SearchEnded(BaseException):
    """No further fit can succeed, since the disk is full.

    No ``Exception``: scikit-learn would take it for the fault of one fit and go on. It comes back from other
    processes too.
    """


def as_estimator(problem: Problem) -> RowEstimator:
    """The classifier of a search as an unfitted estimator, to be handed to any search of scikit-learn.

    Its parameters are the dotted settings of the family: ``set_params(c=2.0)``, or
    ``set_params(**{"train.epochs": 3})``.
    """
    return RowEstimator(problem)


class RowEstimator(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """Fits a classifier on the rows at the positions ``X``, ``(n, 1)``.

    Parameters
    ----------
    problem
        Records, settings, and how to fit.
    """

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        self._params: dict[str, Any] = {}

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """The problem alone; what was set is part of the fit."""
        return {"problem": self.problem}

    def set_params(self, **params: Any) -> RowEstimator:
        """Take settings by dotted name."""
        self.problem = params.pop("problem", self.problem)
        self._params |= params
        return self

    def fit(self, X: ArrayLike, y: Any = None) -> RowEstimator:
        """Fit on the rows at these positions; their labels are the records' own.

        Raises
        ------
        SearchEnded
            The disk is full.
        Exception
            Whatever the fit raises; the reason is kept in the problem as well.
        """
        try:
            settings = apply_params(self.problem.settings, self._params)
            self.classifier_ = self.problem.fit(settings, _positions(X))
        except Exception as error:
            self._note(error)
            raise
        self.classes_ = np.arange(len(self.problem.task.labels))
        return self

    def predict_proba(self, X: ArrayLike) -> NDArray[np.float64]:
        """Class probabilities ``(n, k)`` of the rows at these positions.

        Raises
        ------
        SearchEnded
            The disk is full.
        TrainingError
            Some are NaN or infinite; the reason is kept in the problem as well.
        """
        try:
            return predict_rows(self.classifier_, self.problem.records.take(_positions(X)))
        except Exception as error:
            self._note(error)
            raise

    def predict(self, X: ArrayLike) -> NDArray[np.int64]:
        """The most probable class of each row."""
        return np.asarray(self.predict_proba(X).argmax(axis=1), dtype=np.int64)

    def _note(self, error: Exception) -> None:
        try:
            self.problem.failures[params_key(self._params)] = describe_failure(error)
        except StorageError as full:
            raise SearchEnded(str(full)) from full


def _positions(X: ArrayLike) -> NDArray[np.int64]:
    return np.asarray(X, dtype=np.int64).reshape(-1)
