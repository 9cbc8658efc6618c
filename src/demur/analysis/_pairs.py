"""Every model against every other on the rows both judged: bootstrap, swapped groups, McNemar, t over folds.

All models of one protocol are measured under the same draws of groups, so a pair costs a subtraction.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from demur.analysis._config import AnalysisConfig
from demur.analysis._folds import CorrectedT, corrected_t, fold_scores, rows_share
from demur.analysis._holm import adjust_holm
from demur.analysis._mcnemar import McNemar, mcnemar
from demur.analysis._predicted import Predicted, align, sort_rows
from demur.analysis._swap import PairKey, swap_p_values
from demur.metrics import LOWER_IS_BETTER, Bootstrap, Measurement, bootstrap, percentile_interval
from demur.tasks import Task

FOLDED = ("cv",)
"""Protocols whose folds are parts of one shuffled set, which the corrected t-test asks for."""


@dataclass(frozen=True)
class Difference:
    """Model a less model b in one figure: interval of the paired cluster bootstrap, p-value of swapped groups."""

    a: float | None
    b: float | None
    difference: float | None
    low: float | None = None
    high: float | None = None
    standard_error: float | None = None
    share_a_better: float | None = None
    """Share of draws in which a is the better one, ties counting half."""
    p: float | None = None
    p_holm: float | None = None
    """Adjusted over all pairs of the same task, protocol and figure."""
    t: CorrectedT | None = None
    t_p_holm: float | None = None
    reason: str | None = None


@dataclass(frozen=True)
class Pair:
    """Two models on the rows both judged under one protocol."""

    a: str
    b: str
    n: int
    groups: int
    metrics: Mapping[str, Difference]
    mcnemar: McNemar
    mcnemar_p_holm: float | None = None
    clustered_p_holm: float | None = None


@dataclass
class _Measured:
    """Models on the very same rows, with the value and the draws of each of their figures."""

    rows: dict[str, Predicted]
    points: dict[tuple[str, str], float]
    draws: dict[tuple[str, str], NDArray[np.float64]]
    groups: int
    folds: dict[str, dict[str, NDArray[np.float64]]] = field(default_factory=dict)
    p_values: dict[PairKey, dict[str, float]] = field(default_factory=dict)


def compare_pairs(
    task: Task,
    predicted: Mapping[str, Predicted],
    protocol: str,
    config: AnalysisConfig,
    chosen: Sequence[tuple[str, str]] | None = None,
) -> list[Pair]:
    """Test every pair of models on the rows both have, with Holm's correction over the pairs.

    Parameters
    ----------
    task
        The task judged.
    predicted
        The predictions of each model under ``protocol``; pairs follow its order.
    protocol
        Decides whether folds are compared, too.
    config
        Draws, level, seed and figures.
    chosen
        The pairs to test; all where absent.

    Returns
    -------
    list of Pair
        Without the pairs that share no row, or disagree on a row's true label.
    """
    rows = {name: sort_rows(found) for name, found in predicted.items() if len(found)}
    wanted = [pair for pair in (chosen or list(combinations(rows, 2))) if pair[0] in rows and pair[1] in rows]
    cohorts = _measure_cohorts(task, rows, protocol, config)
    for measured in {id(one): one for one in cohorts.values()}.values():
        inside = [pair for pair in wanted if pair[0] in measured.rows and pair[1] in measured.rows]
        measured.p_values = swap_p_values(task, measured.rows, inside, config)
    pairs = []
    for a, b in wanted:
        measured = cohorts[a]
        if b not in measured.rows:
            left, right = align(rows[a], rows[b])
            if not len(left) or (left.y != right.y).any():
                continue
            right = replace(right, columns={**right.columns, "group": left.column("group")})
            measured = _measure(task, {a: left, b: right}, protocol, config)
            measured.p_values = swap_p_values(task, measured.rows, [(a, b)], config)
        pairs.append(_test(task, measured, (a, b), config))
    return _adjust(pairs, config)


def _measure_cohorts(
    task: Task, rows: Mapping[str, Predicted], protocol: str, config: AnalysisConfig
) -> dict[str, _Measured]:
    """Models of equal rows, truth and groups are measured together."""
    cohorts: dict[object, dict[str, Predicted]] = {}
    for name, found in rows.items():
        key = (tuple(found.ids), found.y.tobytes(), found.groups.tobytes(), found.proba.shape[1])
        cohorts.setdefault(key, {})[name] = found
    placed: dict[str, _Measured] = {}
    for members in cohorts.values():
        measured = _measure(task, members, protocol, config)
        placed |= dict.fromkeys(members, measured)
    return placed


def _measure(task: Task, rows: dict[str, Predicted], protocol: str, config: AnalysisConfig) -> _Measured:
    measurements = {
        name: Measurement(task, found.y, found.called, found.proba, found.groups, config.metrics)
        for name, found in rows.items()
    }
    first = next(iter(measurements.values()))

    def measure(weights: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
        return {
            f"{name}\0{metric}": values
            for name, measurement in measurements.items()
            for metric, values in measurement.measure(weights).items()
        }

    settings = Bootstrap(draws=config.draws, level=config.level, seed=config.seed)
    points = {_key(name): float(values[0]) for name, values in measure(np.ones((1, first.n_groups))).items()}
    for (name, metric), _ in list(points.items()):
        if metric.startswith("recall_at") and not measurements[name].recall_is_resolved(metric):
            points[name, metric] = math.nan
    draws = bootstrap(measure, first.n_groups, settings, rows=len(first.y_true))
    found = _Measured(rows, points, {_key(name): values for name, values in draws.items()}, first.n_groups)
    if protocol in FOLDED and all(None not in one.column("fold") for one in rows.values()):
        found.folds = {name: fold_scores(task, one, config.metrics) for name, one in rows.items()}
    return found


def _key(name: str) -> tuple[str, str]:
    model, _, metric = name.rpartition("\0")
    return model, metric


def _test(task: Task, measured: _Measured, names: tuple[str, str], config: AnalysisConfig) -> Pair:
    a, b = (measured.rows[name] for name in names)
    return Pair(
        a=names[0],
        b=names[1],
        n=len(a),
        groups=measured.groups,
        metrics={metric: _difference(measured, names, metric, config) for metric in config.metrics},
        mcnemar=mcnemar(a.called == a.y, b.called == b.y, a.groups),
    )


def _difference(measured: _Measured, names: tuple[str, str], metric: str, config: AnalysisConfig) -> Difference:
    a, b = (measured.points[name, metric] for name in names)
    if math.isnan(a) or math.isnan(b):
        return Difference(_known(a), _known(b), None, reason="the rows do not allow this figure")
    found = Difference(a, b, a - b, t=_over_folds(measured, names, metric))
    draws = [measured.draws.get((name, metric), np.empty(0)) for name in names]
    values = draws[0] - draws[1]
    low, high, reason = percentile_interval(values, config.level, measured.groups)
    if reason is not None and "same value" in reason and abs(a - b) < 1e-12:
        return replace(found, standard_error=0.0, share_a_better=0.5, p=1.0, reason="both give the same answers")
    if reason is not None:
        return replace(found, reason=reason)
    kept = values[~np.isnan(values)]
    error = float(kept.std(ddof=1))
    sign = -1 if metric in LOWER_IS_BETTER else 1
    return replace(
        found,
        low=low,
        high=high,
        standard_error=error,
        share_a_better=float(np.mean((np.sign(kept) * sign + 1) / 2)),
        p=measured.p_values.get(names, {}).get(metric),
    )


def _over_folds(measured: _Measured, names: tuple[str, str], metric: str) -> CorrectedT | None:
    if not measured.folds:
        return None
    a, b = (measured.rows[name] for name in names)
    if a.column("fold") != b.column("fold"):
        return CorrectedT(None, None, 0, None, "the two models were cross-validated on other folds")
    first, second = (measured.folds[name][metric] for name in names)
    return corrected_t(first - second, rows_share(a))


def _known(value: float) -> float | None:
    return None if math.isnan(value) else value


def _adjust(pairs: list[Pair], config: AnalysisConfig) -> list[Pair]:
    """The pairs with their p-values adjusted; each figure and each test is a family of its own."""
    plain = adjust_holm([pair.mcnemar.p for pair in pairs])
    clustered = adjust_holm([pair.mcnemar.clustered_p for pair in pairs])
    columns: dict[str, list[Difference]] = {}
    for metric in config.metrics:
        found = [pair.metrics[metric] for pair in pairs]
        by_draws = adjust_holm([one.p for one in found])
        by_folds = adjust_holm([one.t.p if one.t else None for one in found])
        columns[metric] = [
            replace(one, p_holm=p, t_p_holm=t) for one, p, t in zip(found, by_draws, by_folds, strict=True)
        ]
    return [
        replace(
            pair,
            metrics={metric: columns[metric][place] for metric in config.metrics},
            mcnemar_p_holm=plain[place],
            clustered_p_holm=clustered[place],
        )
        for place, pair in enumerate(pairs)
    ]
