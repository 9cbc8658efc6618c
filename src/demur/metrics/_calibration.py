"""Calibration: expected calibration error, the reliability curve behind it, the Brier score and the log loss.

The first two look at the top label: how sure the model is of its answer against how often it is right.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import ArrayLike

from demur.metrics._bootstrap import wilson_interval
from demur.metrics._inputs import FloatArray, IntArray

BINS = 15
PROBABILITY_FLOOR = 1e-7
"""What a probability of 0 counts as in a logarithm: about the last place of the float32 that models end in."""


@dataclass(frozen=True)
class ReliabilityCurve:
    """Confidence against accuracy in bins of equal mass, one entry a bin that holds rows, ``(b,)`` each."""

    confidence: FloatArray
    """Mean confidence of the bin's rows."""
    accuracy: FloatArray
    """Share of the bin's rows that are right."""
    count: IntArray
    level: float = 0.95

    @property
    def error(self) -> float:
        """The expected calibration error of these bins."""
        return float(np.sum(self.count * np.abs(self.accuracy - self.confidence)) / self.count.sum())

    def frame(self) -> pl.DataFrame:
        """One row a bin, with the Wilson interval of its accuracy (rows taken as independent)."""
        bounds = [
            wilson_interval(share * n, n, self.level)
            for share, n in zip(self.accuracy.tolist(), self.count.tolist(), strict=True)
        ]
        return pl.DataFrame(
            {
                "confidence": self.confidence,
                "accuracy": self.accuracy,
                "low": [low for low, _ in bounds],
                "high": [high for _, high in bounds],
                "n": self.count,
            },
            schema_overrides={"low": pl.Float64, "high": pl.Float64},
        )


def top_label(y_true: IntArray, probabilities: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Confidence of the most probable class and whether it is right (1 or 0), ``(n,)`` each."""
    chosen = probabilities.argmax(axis=1)
    confidence = probabilities[np.arange(len(probabilities)), chosen]
    return confidence, (chosen == np.asarray(y_true)).astype(np.float64)


def equal_mass_bins(confidence: FloatArray, bins: int = BINS, weights: ArrayLike | None = None) -> IntArray:
    """Bin number of each row, ``(n,)``: bins hold about the same number of rows.

    Rows of equal confidence share a bin, so the order of rows does not matter and a row of weight 2 is the
    same as two rows; bins may then be uneven or empty.
    """
    given = np.ones(len(confidence)) if weights is None else np.asarray(weights, np.float64)
    _, place = np.unique(confidence, return_inverse=True)
    mass = np.bincount(place, given)
    middle = (np.cumsum(mass) - mass / 2) / mass.sum()
    number: IntArray = np.minimum((middle * bins).astype(np.int64), bins - 1)
    return number[place]


def expected_calibration_error(y_true: IntArray, probabilities: FloatArray, bins: int = BINS) -> float:
    """Mean gap between confidence and accuracy over bins of equal mass, weighted by their rows.

    Parameters
    ----------
    y_true
        Class ids, ``(n,)``.
    probabilities
        ``(n, k)``.
    bins
        Number of bins.

    References
    ----------
    Guo et al., On calibration of modern neural networks, ICML 2017, section 2 (bins of equal width there);
    Nguyen and O'Connor, Posterior calibration and exploratory analysis for natural language processing
    models, EMNLP 2015, section 3, for bins of equal mass, which leave none nearly empty.
    """
    return reliability_curve(y_true, probabilities, bins).error


def reliability_curve(
    y_true: IntArray, probabilities: FloatArray, bins: int = BINS, level: float = 0.95
) -> ReliabilityCurve:
    """Confidence against accuracy by bin; parameters as in :func:`expected_calibration_error`."""
    confidence, right = top_label(y_true, probabilities)
    number = equal_mass_bins(confidence, bins)
    count = np.bincount(number, minlength=bins)
    held = count > 0
    return ReliabilityCurve(
        confidence=np.bincount(number, confidence, minlength=bins)[held] / count[held],
        accuracy=np.bincount(number, right, minlength=bins)[held] / count[held],
        count=count[held].astype(np.int64),
        level=level,
    )


def brier_score(y_true: IntArray, probabilities: FloatArray) -> float:
    """Mean squared distance between the probabilities and the truth, summed over classes: 0 best, 2 worst.

    For two classes it is twice the figure of one column.

    References
    ----------
    Brier, Verification of forecasts expressed in terms of probability, Monthly Weather Review 78, 1950.
    """
    truth = np.eye(probabilities.shape[1])[np.asarray(y_true)]
    return float(np.mean(np.sum((probabilities - truth) ** 2, axis=1)))


def log_losses(y_true: IntArray, probabilities: FloatArray) -> FloatArray:
    """What each row costs: the negative logarithm of the probability of its true class, ``(n,)``, in nats.

    A probability of 0 counts as ``PROBABILITY_FLOOR``, so that one sure mistake is dear but not infinite.

    References
    ----------
    Good, Rational decisions, J. R. Statist. Soc. B 14, 1952.
    """
    given = probabilities[np.arange(len(probabilities)), np.asarray(y_true)]
    losses: FloatArray = -np.log(np.maximum(given, PROBABILITY_FLOOR))
    return losses
