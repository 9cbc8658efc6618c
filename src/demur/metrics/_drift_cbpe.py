"""How well a classifier does on rows nobody has labelled, from its own calibrated probabilities."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from demur.errors import DataError
from demur.metrics._bootstrap import Bootstrap, percentile_interval
from demur.metrics._evaluate import Estimate
from demur.metrics._inputs import BoolArray, FloatArray, as_probabilities
from demur.tasks import Task

ASSUMPTIONS = (
    "right only while the probabilities are calibrated on this traffic: inputs may have become more or less "
    "common, but what an input means may not have changed, and none may be of a kind that calibration never saw"
)
_CHUNK = 250_000


@dataclass(frozen=True)
class PerformanceEstimate:
    """Figures estimated without labels; see :func:`estimate_performance`."""

    accuracy: Estimate
    false_alarm: Estimate
    """Share of rows that are no threat and are flagged all the same."""
    missed_threat: Estimate
    """Share of threats that are not flagged."""
    n: int

    def to_json(self) -> dict[str, Any]:
        """As plain values, with what they rest on."""
        return asdict(self) | {"assumes": ASSUMPTIONS}


def estimate_performance(
    task: Task,
    probabilities: ArrayLike,
    flagged: ArrayLike | Sequence[bool],
    settings: Bootstrap | None = None,
) -> PerformanceEstimate:
    """Accuracy, false alarms and missed threats of unlabelled rows, from calibrated probabilities.

    A row called label a with probability 0.9 is right nine times in ten, if the probabilities are calibrated; so
    the mean of the largest probabilities estimates accuracy, and threats among the rows not flagged are as many as
    their threat scores sum to. The interval draws rows and then their labels from the probabilities: it holds both
    what this traffic would show on average, and what labelling these very rows would. It knows nothing of
    miscalibration, nor of a change in what inputs mean (concept drift), which this estimate cannot see.

    Parameters
    ----------
    task
        Gives the labels and which of them are a threat.
    probabilities
        Calibrated, ``(n, k)``.
    flagged
        Whether each row was acted on, ``(n,)``.
    settings
        Draws, level and seed.

    Raises
    ------
    DataError
        The probabilities are none, or flags are not one a row.

    References
    ----------
    Guillory et al., Predicting with confidence on unseen distributions, ICCV 2021, section 3 (average confidence);
    Garg et al., Leveraging unlabeled data to predict out-of-distribution performance, ICLR 2022, section 3 (when
    no such estimate can be right).
    """
    settings = settings or Bootstrap()
    acted = np.asarray(flagged, dtype=bool)
    if acted.ndim != 1:
        raise DataError(f"flags have shape {acted.shape}; pass one for each row")
    chances = as_probabilities(task, probabilities, len(acted))
    if not len(chances):
        nothing = Estimate(None, None, None, 0, "no rows")
        return PerformanceEstimate(nothing, nothing, nothing, 0)
    threat = np.zeros(len(task.labels))
    threat[list(task.label_ids(task.threat_labels))] = 1
    danger, sure = np.clip(chances @ threat, 0, 1), chances.max(axis=1)
    values = {
        "accuracy": (float(sure.sum()), float(len(sure))),
        "false_alarm": (float((1 - danger)[acted].sum()), float((1 - danger).sum())),
        "missed_threat": (float(danger[~acted].sum()), float(danger.sum())),
    }
    draws = _draw_figures(chances, threat.astype(bool), acted, settings)
    found = {}
    for name, (top, bottom) in values.items():
        if bottom < 1e-9:
            found[name] = Estimate(None, None, None, 0, "no row it could be taken of")
            continue
        low, high, reason = percentile_interval(draws[name], settings.level, len(chances))
        found[name] = Estimate(min(top / bottom, 1.0), low, high, len(chances), reason)
    return PerformanceEstimate(**found, n=len(chances))


def _draw_figures(
    chances: FloatArray, threat: BoolArray, acted: BoolArray, settings: Bootstrap
) -> dict[str, FloatArray]:
    """Each figure ``(draws,)`` under drawn rows and labels; NaN where a draw has no row for it."""
    generator = np.random.default_rng(settings.seed)
    n = len(chances)
    steps, called = np.cumsum(chances, axis=1)[:, :-1], chances.argmax(axis=1)
    parts: dict[str, list[FloatArray]] = {"accuracy": [], "false_alarm": [], "missed_threat": []}
    size = max(1, _CHUNK // n)
    for start in range(0, settings.draws, size):
        rows = generator.integers(0, n, size=(min(size, settings.draws - start), n))  # (d, n)
        labels = (generator.random(rows.shape)[..., None] >= steps[rows]).sum(axis=-1)
        is_threat, is_acted = threat[labels], acted[rows]
        parts["accuracy"].append((labels == called[rows]).mean(axis=1))
        parts["false_alarm"].append(_share(is_acted, ~is_threat))
        parts["missed_threat"].append(_share(~is_acted, is_threat))
    return {name: np.concatenate(found) if found else np.empty(0) for name, found in parts.items()}


def _share(top: BoolArray, bottom: BoolArray) -> FloatArray:
    counts = bottom.sum(axis=1)
    return np.asarray(np.where(counts > 0, (top & bottom).sum(axis=1) / np.maximum(counts, 1), np.nan))
