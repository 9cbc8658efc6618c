"""The exact binomial interval: what a share of few judged rows says of all."""

from __future__ import annotations


def exact_lower(successes: int, n: int, level: float = 0.95) -> float:
    """One-sided lower bound of a rate: at most the truth in at least ``level`` of samples, however few the rows.

    Parameters
    ----------
    successes, n
        Count of successes and of independent trials; 0 trials give 0.
    level
        Confidence.

    References
    ----------
    Clopper and Pearson, The use of confidence or fiducial limits illustrated in the case of the binomial,
    Biometrika 26, 1934.
    """
    from scipy import stats

    return float(stats.beta.ppf(1 - level, successes, n - successes + 1)) if successes > 0 else 0.0


def exact_interval(successes: int, n: int, level: float = 0.95) -> tuple[float, float]:
    """Two-sided interval of a rate that holds the truth in at least ``level`` of samples; (0, 1) of no trials.

    Parameters
    ----------
    successes, n, level
        As for :func:`exact_lower`.

    References
    ----------
    As there.
    """
    side = (1 + level) / 2
    return exact_lower(successes, n, side), 1 - exact_lower(n - successes, n, side)
