"""The maps that make probabilities honest: temperature, Platt's sigmoid and isotonic regression.

Each is fitted on judged rows and given as plain numbers, so that it is saved as JSON and read back exactly. For
more than two classes the last two map each class against the rest and scale the row to sum to 1.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from demur.metrics import PROBABILITY_FLOOR

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
Numbers = Mapping[str, Any]
COLDEST, HOTTEST = 0.05, 20.0
"""Bounds of a temperature."""
_TINY = 1e-300


def fit_temperature(y: IntArray, probabilities: FloatArray) -> dict[str, Any]:
    """The temperature of least log loss; the most probable class stays what it is.

    A class that has probability 0 in every row, as one the classifier never learned, keeps it. Each row counts,
    with a weight of ``1 / (n + k)``, for every other class too (Laplace's rule): without it, the temperature of
    rows that are all answered rightly would be 0, and the next mistake a sure one.

    References
    ----------
    Guo et al., On calibration of modern neural networks, ICML 2017, section 4.2.
    """
    from scipy.optimize import minimize_scalar

    never = np.flatnonzero(probabilities.max(axis=0) == 0).tolist()

    n, k = probabilities.shape
    targets = np.full((n, k), 1 / (n + k))
    targets[np.arange(n), y] = (n + 1) / (n + k)
    targets[:, never] = 0

    def loss(log_temperature: float) -> float:
        numbers = {"temperature": float(np.exp(log_temperature)), "never": never}
        mapped = apply_temperature(numbers, probabilities)
        return float(-(targets * np.log(np.maximum(mapped, _TINY))).sum(axis=1).mean())

    bounds = (np.log(COLDEST), np.log(HOTTEST))
    found = minimize_scalar(loss, bounds=bounds, method="bounded", options={"xatol": 1e-8})
    return {"temperature": float(np.exp(found.x)), "never": never}


def apply_temperature(numbers: Numbers, probabilities: FloatArray) -> FloatArray:
    """The softmax of the log probabilities by the temperature, ``(n, k)``; 0 counts as ``PROBABILITY_FLOOR``."""
    logits = np.log(np.maximum(probabilities, PROBABILITY_FLOOR)) / numbers["temperature"]
    mapped = np.exp(logits - logits.max(axis=1, keepdims=True))
    mapped[:, numbers["never"]] = 0.0
    return _scaled(mapped)


def fit_platt(y: IntArray, probabilities: FloatArray) -> dict[str, Any]:
    """Slope and intercept of a sigmoid over each class's log odds; null for a class without a row, or with all.

    Targets are those of Platt, a little off 0 and 1. A slope below 0, which would turn the model's order round,
    is 0.

    References
    ----------
    Platt, Probabilistic outputs for support vector machines, 1999, section 2; Zadrozny and Elkan, Transforming
    classifier scores into accurate multiclass probability estimates, KDD 2002, section 4, for several classes.
    """
    odds = log_odds(probabilities)
    lines = [_fit_sigmoid(odds[:, number], y == number) for number in range(probabilities.shape[1])]
    return {"lines": lines}


def apply_platt(numbers: Numbers, probabilities: FloatArray) -> FloatArray:
    """The sigmoids of the classes, scaled to sum to 1, ``(n, k)``."""
    from scipy.special import expit

    odds, mapped = log_odds(probabilities), probabilities.copy()
    for number, line in enumerate(numbers["lines"]):
        if line is not None:
            mapped[:, number] = expit(line[0] * odds[:, number] + line[1])
    return _scaled(mapped)


def fit_isotonic(y: IntArray, probabilities: FloatArray) -> dict[str, Any]:
    """Rising steps from each class's probability to its share; null for a class without a row, or with all.

    Steps keep ``1 / (n + 2)`` from 0 and 1, as far as ``n`` rows can tell: no class is ever called impossible.

    References
    ----------
    Zadrozny and Elkan, Transforming classifier scores into accurate multiclass probability estimates, KDD 2002,
    sections 3.1 and 4; scikit-learn's ``IsotonicRegression`` pools the steps.
    """
    from sklearn.isotonic import IsotonicRegression

    floor = 1 / (len(y) + 2)
    steps: list[list[list[float]] | None] = []
    for number in range(probabilities.shape[1]):
        inside = (y == number).astype(np.float64)
        if inside.min() == inside.max():
            steps.append(None)
            continue
        found = IsotonicRegression(out_of_bounds="clip").fit(probabilities[:, number], inside)
        heights = np.clip(found.y_thresholds_, floor, 1 - floor)
        steps.append([found.X_thresholds_.tolist(), heights.tolist()])
    return {"steps": steps}


def apply_isotonic(numbers: Numbers, probabilities: FloatArray) -> FloatArray:
    """The heights of the steps, straight lines between them, scaled to sum to 1, ``(n, k)``."""
    mapped = probabilities.copy()
    for number, steps in enumerate(numbers["steps"]):
        if steps is not None:
            mapped[:, number] = np.interp(probabilities[:, number], steps[0], steps[1])
    return _scaled(mapped)


def log_odds(probabilities: FloatArray) -> FloatArray:
    """``log(p / (1 - p))`` with ``p`` kept ``PROBABILITY_FLOOR`` from 0 and 1, ``(n, k)``."""
    kept = np.clip(probabilities, PROBABILITY_FLOOR, 1 - PROBABILITY_FLOOR)
    odds: FloatArray = np.log(kept) - np.log1p(-kept)
    return odds


def _fit_sigmoid(odds: FloatArray, inside: NDArray[np.bool_]) -> list[float] | None:
    from scipy.optimize import minimize

    positives, negatives = int(inside.sum()), int((~inside).sum())
    if not positives or not negatives:
        return None
    targets = np.where(inside, (positives + 1) / (positives + 2), 1 / (negatives + 2))
    # Of order 1, whatever the model's confidence, so that the minimiser's steps fit.
    size = max(float(np.abs(odds).mean()), 1e-6)
    scaled = odds / size

    def loss(line: FloatArray) -> tuple[float, FloatArray]:
        raw = line[0] * scaled + line[1]
        gaps = 1 / (1 + np.exp(-np.clip(raw, -500, 500))) - targets
        value = float((np.logaddexp(0, raw) - targets * raw).mean())
        return value, np.array([(gaps * scaled).mean(), gaps.mean()])

    start = np.array([0.0, np.log((positives + 1) / (negatives + 1))])
    options = {"gtol": 1e-9, "ftol": 1e-14, "maxiter": 500}
    found = minimize(loss, start, jac=True, method="L-BFGS-B", bounds=[(0, None), (None, None)], options=options)
    return [float(found.x[0] / size), float(found.x[1])]


def _scaled(mapped: FloatArray) -> FloatArray:
    total: FloatArray = mapped.sum(axis=1, keepdims=True)
    return mapped / total


FITS: Mapping[str, Callable[[IntArray, FloatArray], dict[str, Any]]] = {
    "none": lambda y, probabilities: {},
    "temperature": fit_temperature,
    "platt": fit_platt,
    "isotonic": fit_isotonic,
}
"""Each method's fit, the simplest first."""
APPLIES: Mapping[str, Callable[[Numbers, FloatArray], FloatArray]] = {
    "none": lambda numbers, probabilities: probabilities,
    "temperature": apply_temperature,
    "platt": apply_platt,
    "isotonic": apply_isotonic,
}
