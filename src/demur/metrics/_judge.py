"""Rates corrected for the errors of the judge that counted them, with those errors in the interval.

Sensitivity and specificity come from responses labelled by hand; they must be responses of the kind judged
(of tampered models, not of intact ones), or the correction corrects for another judge.
"""

from __future__ import annotations

from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from demur.errors import DataError
from demur.metrics._evaluate import Estimate
from demur.metrics._inputs import FloatArray

_CONTRADICTION = (
    "no interval: the judge's errors on labelled responses do not allow so extreme a rate; "
    "label responses of this kind"
)


@dataclass(frozen=True)
class JudgeCalibration:
    """A judge's verdicts on labelled responses, for one outcome against all others.

    Parameters
    ----------
    true_positives, false_negatives
        Responses that truly have the outcome: those the judge called so, and those it did not.
    true_negatives, false_positives
        Responses that do not have it: those the judge left out, and those it called so.

    Raises
    ------
    DataError
        A count is negative, or one of the two kinds was never labelled; label some of each.
    """

    true_positives: int
    false_negatives: int
    true_negatives: int
    false_positives: int

    def __post_init__(self) -> None:
        counts = (self.true_positives, self.false_negatives, self.true_negatives, self.false_positives)
        if min(counts) < 0:
            raise DataError(f"the judge's calibration holds a negative count ({min(counts)}); pass counts of rows")
        if not self.n_positive or not self.n_negative:
            raise DataError(
                f"the judge was labelled on {self.n_positive} responses with the outcome and {self.n_negative} "
                "without it; label some of both kinds"
            )

    @property
    def n_positive(self) -> int:
        """Labelled responses that have the outcome."""
        return self.true_positives + self.false_negatives

    @property
    def n_negative(self) -> int:
        """Labelled responses that do not."""
        return self.true_negatives + self.false_positives

    @property
    def sensitivity(self) -> float:
        """Share of responses with the outcome that the judge finds."""
        return self.true_positives / self.n_positive

    @property
    def specificity(self) -> float:
        """Share of responses without it that the judge leaves out."""
        return self.true_negatives / self.n_negative

    @property
    def fault(self) -> str | None:
        """Why no rate can be corrected by this judge, or None."""
        total = self.sensitivity + self.specificity
        return None if total > 1 else _no_better(self.sensitivity, self.specificity)


def rogan_gladen(rate: float, sensitivity: float, specificity: float) -> float:
    """True rate behind the rate a judge reports: (rate + sp - 1) / (se + sp - 1), clipped to 0..1.

    Parameters
    ----------
    rate
        Share the judge called positive, in 0..1.
    sensitivity, specificity
        Of the judge, in 0..1.

    Raises
    ------
    DataError
        A value is outside 0..1, or sensitivity + specificity is at most 1: such a judge says nothing, label
        more responses or take another judge.

    References
    ----------
    Rogan and Gladen, Estimating prevalence from the results of a screening test, Am. J. Epidemiol. 107, 1978.
    """
    if not all(0 <= value <= 1 for value in (rate, sensitivity, specificity)):
        raise DataError(
            f"rate {rate}, sensitivity {sensitivity} and specificity {specificity} must lie in 0..1; pass shares"
        )
    if sensitivity + specificity <= 1:
        raise DataError(_no_better(sensitivity, specificity))
    return min(1.0, max(0.0, (rate + specificity - 1) / (sensitivity + specificity - 1)))


def corrected_rate(successes: int, n: int, calibration: JudgeCalibration, level: float = 0.95) -> Estimate:
    """Rate corrected for its judge; its interval holds the errors of the rate and of both calibrations.

    The interval is Lang and Reiczigel's: Rogan and Gladen's with smoothed counts, the error of the three
    binomials added up, and a shift that undoes its skewness.

    Parameters
    ----------
    successes, n
        Responses the judge called positive, and all it judged; one response a prompt.
    calibration
        The judge's verdicts on labelled responses.
    level
        Share the interval should cover.

    Raises
    ------
    DataError
        There are more successes than responses, or fewer than none.

    References
    ----------
    Lang and Reiczigel, Confidence limits for prevalence of disease adjusted for estimated sensitivity and
    specificity, Prev. Vet. Med. 113, 2014, section 2.
    """
    if not 0 <= successes <= n:
        raise DataError(f"{successes} successes of {n} responses; pass a count of 0 to n")
    if not n:
        return Estimate(None, None, None, 0, "no response could be scored")
    if calibration.fault:
        return Estimate(None, None, None, n, calibration.fault)
    value = rogan_gladen(successes / n, calibration.sensitivity, calibration.specificity)
    z = NormalDist().inv_cdf((1 + level) / 2)
    n_rate, n_se, n_sp = n + z * z, calibration.n_positive + 2, calibration.n_negative + 2
    rate = (successes + z * z / 2) / n_rate
    se, sp = (calibration.true_positives + 1) / n_se, (calibration.true_negatives + 1) / n_sp
    if se + sp <= 1:
        return Estimate(
            value, None, None, n, "no interval: too few labelled responses to tell the judge from chance"
        )
    true = (rate + sp - 1) / (se + sp - 1)
    se_error, sp_error = se * (1 - se) / n_se, sp * (1 - sp) / n_sp
    shift = 2 * z * z * (true * se_error - (1 - true) * sp_error)
    variance = rate * (1 - rate) / n_rate + true**2 * se_error + (1 - true) ** 2 * sp_error
    half = z * variance**0.5 / (se + sp - 1)
    low, high = (min(1.0, max(0.0, true + shift + side * half)) for side in (-1, 1))
    if low == high:
        return Estimate(value, None, None, n, _CONTRADICTION)
    return Estimate(value, min(low, value), max(high, value), n)


def draw_judges(calibration: JudgeCalibration, draws: int, seed: int) -> tuple[FloatArray, FloatArray]:
    """Draw sensitivities and specificities a judge may truly have, ``(draws,)`` each.

    From beta distributions with Jeffreys' prior: a judge without an error on few responses may still err.
    """
    generator = np.random.default_rng(seed)
    se = generator.beta(calibration.true_positives + 0.5, calibration.false_negatives + 0.5, size=draws)
    sp = generator.beta(calibration.true_negatives + 0.5, calibration.false_positives + 0.5, size=draws)
    return se, sp


def _no_better(sensitivity: float, specificity: float) -> str:
    return (
        f"the judge's sensitivity {sensitivity:.2f} and specificity {specificity:.2f} sum to at most 1, no better "
        "than chance; label more responses or take another judge"
    )
