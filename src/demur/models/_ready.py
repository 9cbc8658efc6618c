"""Making a fitted classifier ready for use: calibrated probabilities, operating points, abstention.

All of it is found on validation rows, of which one part fits the calibration and another, of other groups, the
thresholds that stand on calibrated probabilities.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from demur.config import Settings
from demur.data import Records
from demur.metrics import Bootstrap, Estimate, estimate_ratio, evaluate, log_losses
from demur.models._base import BaseClassifier
from demur.models._calibrate import Calibration, CalibrationConfig, cross_fit, fit_calibration
from demur.models._check_ready import SETS, estimate_sets
from demur.models._conformal import Conformal, ConformalConfig, fit_conformal
from demur.models._folds import fold_numbers, split_off
from demur.models._operating import RATES, OperatingPoints, fit_operating_points

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]


class ReadyConfig(Settings):
    """What a fitted classifier is given before it is saved."""

    calibration: Literal["auto", "none", "temperature", "platt", "isotonic"] = Field(
        default="auto",
        description="Map to honest probabilities; auto: the simplest not clearly beaten in cross-fitted log loss.",
    )
    share: float = Field(
        default=0.4, gt=0, lt=1, description="Share of the validation rows that fit the map; the others decide."
    )
    folds: int = Field(default=5, ge=2, le=20, description="Grouped folds of the cross-fit.")
    false_positive_rates: tuple[float, ...] = Field(
        default=RATES, description="Rates to find a threshold for: 0.01 gives the operating point fpr_1."
    )
    alpha: float | None = Field(
        default=0.05,
        gt=0,
        lt=1,
        description="Share of rows that may be answered wrongly as sure; null: no abstention.",
    )
    abstain: Literal["lac", "aps"] = Field(
        default="lac",
        description="Score of conformity: lac, 1 - p(label); aps, the probabilities above the label's.",
    )
    by_class: bool = Field(default=False, description="Keep that promise for each true class alone.")
    unit: Literal["group", "row"] = Field(
        default="group", description="What is exchangeable: groups (each counts once) or single rows."
    )

    @model_validator(mode="after")
    def _check(self) -> ReadyConfig:
        rates = self.false_positive_rates
        for rate in rates:
            if not 0 < rate < 1:
                raise ValueError(
                    f"the false-positive rate {rate:g} is not between 0 and 1; 0.01 is one in a hundred"
                )
        if len(set(rates)) < len(rates):
            raise ValueError(
                f"false-positive rates repeat: {', '.join(f'{rate:g}' for rate in rates)}; name each once"
            )
        return self


@dataclass(frozen=True)
class ReadyReport:
    """What making a classifier ready came to."""

    rows: int
    groups: int
    calibration: dict[str, Any]
    operating: list[dict[str, Any]]
    conformal: dict[str, Any]
    warnings: tuple[str, ...]
    probabilities: FloatArray
    """Calibrated probabilities of the validation rows ``(n, k)``, each by a map that did not see its group."""

    def to_json(self) -> dict[str, Any]:
        """As plain values, without the probabilities."""
        return {
            "rows": self.rows,
            "groups": self.groups,
            "calibration": self.calibration,
            "operating": self.operating,
            "conformal": self.conformal,
            "warnings": list(self.warnings),
        }


@dataclass(frozen=True)
class _Rows:
    """Validation rows, judged: true classes, probabilities, group numbers."""

    y: IntArray
    p: FloatArray
    groups: IntArray

    def take(self, kept: NDArray[np.bool_]) -> _Rows:
        return _Rows(
            self.y[kept], self.p[kept], np.unique(self.groups[kept], return_inverse=True)[1].astype(np.int64)
        )


def make_ready(
    classifier: BaseClassifier[Any],
    valid: Records,
    config: ReadyConfig | None = None,
    seed: int = 0,
    intervals: Bootstrap | None = None,
) -> ReadyReport:
    """Give a fitted classifier its calibration, operating points and abstention; they are saved with it.

    What the rows do not allow is left out, with the reason in the report.

    Parameters
    ----------
    classifier
        Fitted on other groups than those of ``valid``. Its ``calibration``, ``operating`` and ``conformal`` are
        set.
    valid
        Labelled rows like those to come; none of them may report on the result.
    config
        What to find, and how.
    seed
        Of the division of ``valid`` and of the folds.
    intervals
        How intervals are drawn.

    Raises
    ------
    EmptyDataError
        No row of ``valid`` has a label.
    """
    config, intervals = config or ReadyConfig(), intervals or Bootstrap(seed=seed)
    valid, task = valid.labelled(classifier.task), classifier.task
    classifier.calibration = classifier.operating = classifier.conformal = None
    rows = _Rows(valid.targets(task), classifier.raw_proba(valid), valid.groups())
    fitting, deciding = _divide(classifier, rows, config, seed)
    how = CalibrationConfig(method=config.calibration, folds=config.folds)
    calibration = fit_calibration(task, fitting.y, fitting.p, fitting.groups, how, seed)
    if not calibration.losses and calibration.method == "none":
        deciding = rows  # nothing was fitted or chosen on any of them
    decided = _Rows(deciding.y, calibration.apply(deciding.p), deciding.groups)
    classifier.calibration = calibration if calibration.method != "none" else None
    shared = _warn_shared(calibration, config, fitting, deciding)
    folds = fold_numbers(task, rows.y, rows.groups, config.folds, seed)
    crossed = rows.p if folds is None else cross_fit(calibration.method, rows.y, rows.p, folds)
    operating: OperatingPoints | None = None
    if config.false_positive_rates:
        rates = config.false_positive_rates
        operating = fit_operating_points(task, decided.y, decided.p, decided.groups, rates, intervals)
    classifier.operating = operating
    abstention, conformal = _find_abstention(classifier, decided, config, (seed, intervals))
    classifier.conformal = abstention
    classifier.study(valid)
    points = [asdict(point) for point in operating.points] if operating else []
    return ReadyReport(
        rows=len(rows.y),
        groups=len(np.unique(rows.groups)),
        calibration=_describe_calibration(classifier, calibration, rows, crossed, intervals),
        operating=points,
        conformal=conformal,
        warnings=(*shared, *_warnings(points, abstention, conformal)),
        probabilities=crossed,
    )


def _decides(config: ReadyConfig) -> bool:
    return bool(config.false_positive_rates) or config.alpha is not None


def _warn_shared(
    calibration: Calibration, config: ReadyConfig, fitting: _Rows, deciding: _Rows
) -> tuple[str, ...]:
    if deciding is not fitting or calibration.method == "none" or not _decides(config):
        return ()
    groups = len(np.unique(fitting.groups))
    return (
        f"rows of {groups} group{'' if groups == 1 else 's'} cannot be divided, so the same rows fitted the "
        "calibration and set the thresholds, and their promises do not hold; give rows of more groups, or set "
        "calibration: none",
    )


def _divide(classifier: BaseClassifier[Any], rows: _Rows, config: ReadyConfig, seed: int) -> tuple[_Rows, _Rows]:
    """The rows that fit the map and those that decide: all for both where there is no map or nothing to decide."""
    if config.calibration == "none" or not _decides(config):
        return rows, rows
    fits = split_off(classifier.task, rows.y, rows.groups, config.share, seed)
    if fits is None:
        return rows, rows
    return rows.take(fits), rows.take(~fits)


def _find_abstention(
    classifier: BaseClassifier[Any], rows: _Rows, config: ReadyConfig, drawn: tuple[int, Bootstrap]
) -> tuple[Conformal | None, dict[str, Any]]:
    if config.alpha is None:
        return None, {"reason": "not asked for"}
    how = ConformalConfig(alpha=config.alpha, abstain=config.abstain, by_class=config.by_class, unit=config.unit)
    found = fit_conformal(classifier.task, rows.y, rows.p, rows.groups, how)
    facts = {
        "method": how.abstain,
        "alpha": how.alpha,
        "by_class": how.by_class,
        "unit": how.unit,
        "units": dict(zip(found.labels, found.units, strict=True)),
        "thresholds": dict(zip(found.labels, found.to_json()["thresholds"], strict=True)),
        "guarantee": found.guarantee,
        "reason": None,
    }
    if np.isinf(found.thresholds).all():
        return None, facts | {"reason": "; ".join(found.warnings)}
    return found, facts | _measure_abstention(classifier, rows, how, drawn)


def _measure_abstention(
    classifier: BaseClassifier[Any], rows: _Rows, how: ConformalConfig, drawn: tuple[int, Bootstrap]
) -> dict[str, Any]:
    """Coverage, share unsure, and share wrong of the sure, each row's set by thresholds of the other groups."""
    seed, intervals = drawn
    folds = fold_numbers(classifier.task, rows.y, rows.groups, 10, seed)
    if folds is None:
        return dict.fromkeys(SETS, asdict(Estimate(None, None, None, 0, "the rows allow no folds")))
    covered, unsure = np.empty(len(rows.y), np.bool_), np.empty(len(rows.y), np.bool_)
    for number in np.unique(folds):
        held = folds == number
        rest, here = rows.take(~held), rows.p[held]
        found = fit_conformal(classifier.task, rest.y, rest.p, rest.groups, how)
        covered[held] = found.sets(here)[np.arange(len(here)), rows.y[held]]
        unsure[held] = found.unsure(here)
    wrong = rows.p.argmax(axis=1) != rows.y
    return estimate_sets((covered, unsure, wrong), rows.groups, how.unit, intervals)


def _describe_calibration(
    classifier: BaseClassifier[Any],
    calibration: Calibration,
    rows: _Rows,
    crossed: FloatArray,
    intervals: Bootstrap,
) -> dict[str, Any]:
    facts = calibration.to_json()
    found: dict[str, Any] = {key: facts[key] for key in ("method", "reason", "rows", "losses")}
    found["params"] = facts["numbers"]
    for when, given in (("before", rows.p), ("after", crossed)):
        measured = evaluate(classifier.task, rows.y, given, rows.groups, **intervals.model_dump())
        losses = log_losses(rows.y, given)
        squares = np.square(given - np.eye(given.shape[1])[rows.y]).sum(axis=1)
        found[f"ece_{when}"] = asdict(measured.metrics["ece"])
        for name, values in (("log_loss", losses), ("brier", squares)):
            mean = estimate_ratio(values, np.ones(len(values)), rows.groups, intervals)
            found[f"{name}_{when}"] = asdict(mean)
    return found


def _warnings(
    points: list[dict[str, Any]], abstention: Conformal | None, conformal: dict[str, Any]
) -> tuple[str, ...]:
    notes = [(point["name"], point["threshold"]["reason"] or point["warning"]) for point in points]
    said = [f"{name}: {note}" for name, note in notes if note]
    if abstention is not None:
        return (*said, *abstention.warnings)
    return (*said, conformal["reason"]) if "alpha" in conformal else tuple(said)
