"""Curves over seeds with intervals, paired differences, budgets of half, survival: what is read first."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any, TypeVar

import numpy as np

from demur.errors import DataError, EmptyDataError
from demur.metrics import (
    JudgeCalibration,
    ScalingPoint,
    c50,
    curve_area,
    first_breaks,
    paired_difference,
    scaling_fit,
    survival,
    two_level_bootstrap,
)
from demur.stress._agreement import join_agreements
from demur.stress._config import StressConfig
from demur.stress._data import StressRows
from demur.stress._group import Group, cluster_prompts, count_responses, describe_cell, group_cells
from demur.stress._jobs import UNTOUCHED
from demur.stress._judge_config import JudgeSpec
from demur.stress._measure import RATES, SAFE_RATES
from demur.stress._paired import PairedGroups

T = TypeVar("T")
_HEADLINE = ("rrr", "complied")
_NO_C50 = {
    **dict.fromkeys(("value", "low", "high", "bound", "bound_at", "slope")),
    **dict.fromkeys(("n", "n_broken", "n_at_start"), 0),
    **{"method": "none", "reason": "the operations spent are not known at every step, or do not rise"},
    "warnings": (),
}


def summarise(cells: Sequence[Mapping[str, Any]], rows: StressRows, config: StressConfig) -> dict[str, Any]:
    """Everything over seeds.

    Parameters
    ----------
    cells
        Results of cells.
    rows
        The prompts.
    config
        Judges, draws, level.
    """
    groups = group_cells([one for one in cells if one["stages"]])
    summary = _Summary(groups, rows, config)
    curves = [curve for group in groups for curve in summary.curves(group)]
    differences = [one for group in groups for one in summary.differences(group)]
    budgets = [one for group in groups for one in summary.budgets(group)]
    return {
        "judges": [one.title for one in config.judges],
        "curves": curves,
        "differences": _adjust(differences),
        "budgets": budgets,
        "scaling": _scale(budgets),
        "agreement": [
            one.to_json()
            for one in join_agreements(
                part for cell in cells for stage in cell["stages"] for part in stage["agreement"]
            )
        ],
        "left_out": [
            {**describe_cell(one), "status": one["status"], "reason": one["reason"]}
            for one in cells
            if one["status"] in ("skipped", "failed")
        ],
    }


class _Summary:
    def __init__(self, groups: Sequence[Group], rows: StressRows, config: StressConfig) -> None:
        self._groups, self._config = groups, config
        self._first = config.judges[0]
        self._options: Any = {"draws": config.draws, "level": config.level}
        kinds = {kind: [one for one in rows.prompts if one.kind == kind] for kind in ("harmful", "safe")}
        self._prompts = {kind: [one.id for one in prompts] for kind, prompts in kinds.items()}
        self._clusters = {kind: cluster_prompts(prompts) for kind, prompts in kinds.items()}

    def curves(self, group: Group) -> list[dict[str, Any]]:
        """Every rate by every judge."""
        found = []
        for judge in self._config.judges:
            for kind, rates in (("harmful", RATES), ("safe", SAFE_RATES)):
                for metric, rate in rates.items() if self._prompts[kind] else ():
                    found.append(self._curve(group, judge, kind, (metric, rate)))
        return found

    def _curve(self, group: Group, judge: JudgeSpec, kind: str, names: tuple[str, str]) -> dict[str, Any]:
        metric, rate = names
        raw = group.values(rate, judge.title, self._prompts[kind])
        values = group.carry(raw)
        plain = two_level_bootstrap(values, self._clusters[kind], **self._options)
        shown, tries = plain.points, group.most_tries()
        calibration = _calibration(judge, rate)
        if calibration is not None:
            corrected = two_level_bootstrap(values, self._clusters[kind], calibration, **self._options)
            shown = _corrected(shown, corrected.points, tries)
        flops, counts = group.flops().mean(axis=0), count_responses(raw, group.draws)
        points = [
            {
                "step": step,
                "label": label,
                "flops": _plain(flops[place]),
                **asdict(shown[place]),
                "n": counts[place],
                "uncorrected": plain.points[place].value,
                "is_corrected": calibration is not None and tries[place] == 1,
                "seeds_reached": int((~np.isnan(raw[:, place])).any(axis=1).sum()),
            }
            for place, (step, label) in enumerate(group.stages)
        ]
        return {
            "about": group.about | {"parameters": group.parameters},
            "judge": judge.title,
            "metric": metric,
            "kind": kind,
            "is_corrected": calibration is not None,
            "points": points,
            "by_seed": [list(one) for one in plain.by_seed],
            "seeds": group.seeds,
            "n_seeds": plain.n_seeds,
            "n_clusters": plain.n_clusters,
            "warnings": [*plain.warnings, *group.endings],
        }

    def differences(self, group: Group) -> list[dict[str, Any]]:
        """To the untampered base, and of a defended model to the undefended one under the same attack."""
        found = []
        about = group.about
        untouched = self._find(about, attack=UNTOUCHED, is_defended=False)
        if untouched is not None and untouched is not group:
            found += [self._difference(group, untouched, "untampered base", metric) for metric in _HEADLINE]
        if about["defended"]:
            partner = self._find(about, attack=about["attack"], is_defended=False)
            if partner is not None and partner is untouched:
                # One comparison under two names, with points in common: it is adjusted for once.
                found += [one and one | {"to": "undefended model"} for one in found]
            elif partner is not None:
                found += [self._difference(group, partner, "undefended model", metric) for metric in _HEADLINE]
        return [one for one in found if one is not None]

    def _find(self, about: Mapping[str, Any], attack: str, is_defended: bool) -> Group | None:
        for group in self._groups:
            same = group.about["model"] == about["model"] and group.about["attack"] == attack
            variant = attack == UNTOUCHED or group.about["variant_id"] == about["variant_id"]
            if same and variant and group.about["defended"] == is_defended:
                return group
        return None

    def _difference(self, group: Group, base: Group, to: str, metric: str) -> dict[str, Any] | None:
        """On the seeds and stages that both have."""
        pair, prompts, clusters = PairedGroups(group, base), self._prompts["harmful"], self._clusters["harmful"]
        if not pair.seeds or not pair.stages or not prompts:
            return None
        rate = RATES[metric]
        ours, theirs, counts = pair.values(rate, self._first.title, prompts)
        curve = paired_difference(ours, theirs, clusters, **self._options)
        calibration = _calibration(self._first, rate)
        shown = curve.points
        if calibration is not None:
            corrected = paired_difference(ours, theirs, clusters, calibration, **self._options)
            shown = _corrected(shown, corrected.points, pair.most_tries)
        points = [
            {"step": step, "label": label, **asdict(point), "difference": asdict(point.difference) | {"n": n}}
            for (step, label), point, n in zip(pair.stages, shown, counts, strict=True)
        ]
        return {
            "about": group.about,
            "to": to,
            "judge": self._first.title,
            "metric": metric,
            "has_steps": group.has_steps,
            "points": points,
            "n_seeds": curve.n_seeds,
            "warnings": [*curve.warnings, *group.endings],
        }

    def budgets(self, group: Group) -> list[dict[str, Any]]:
        """Budget of half, survival and area of attacks with steps, by the first judge, uncorrected."""
        if not group.has_steps:
            return []
        complied = group.values("complied", self._first.title, self._prompts["harmful"])
        clusters, flops = self._clusters["harmful"], group.flops()
        steps = [step for step, _ in group.stages]
        by_step = survival(first_breaks(complied, np.array(steps, dtype=float)), clusters, **self._options)
        found: dict[str, Any] = {"c50": dict(_NO_C50), "survival": None}
        if np.isfinite(flops).all() and (np.diff(flops, axis=1) > 0).all():
            breaks = first_breaks(complied, flops)
            found["c50"] = c50(breaks, clusters, **self._options).to_json()
            found["survival"] = survival(breaks, clusters, **self._options).to_json()
        area = curve_area(group.carry(complied), steps, clusters, **self._options)
        return [
            {
                "about": group.about | {"parameters": group.parameters},
                "judge": self._first.title,
                **found,
                "survival_steps": by_step.to_json(),
                "area_complied": asdict(area),
                "censored": sum(one["censored"] is not None for one in group.cells),
                "warnings": list(group.endings),
            }
        ]


def _calibration(judge: JudgeSpec, rate: str) -> JudgeCalibration | None:
    counts = next((one for name, one in judge.calibration.items() if name == rate), None)
    return JudgeCalibration(**counts.model_dump()) if counts else None


def _corrected(plain: Sequence[T], corrected: Sequence[T], tries: Sequence[int]) -> tuple[T, ...]:
    """Corrected points; where the worst of several answers counts, its error rates are others, and it stays."""
    return tuple(b if n == 1 else a for a, b, n in zip(plain, corrected, tries, strict=True))


def _adjust(differences: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Holm's adjustment over the headline cells: the end of runs with steps, else every strength of an attack.

    Both are settled before anything is seen; the step that turned out worst is not.
    """
    headline = [point for one in differences for point in one["points"][-1 if one["has_steps"] else 0 :]]
    last = list({id(point): point for point in headline if point["p"] is not None}.values())
    order = sorted(range(len(last)), key=lambda place: last[place]["p"])
    worst = 0.0
    for rank, place in enumerate(order):
        worst = max(worst, min(1.0, last[place]["p"] * (len(last) - rank)))
        last[place]["p_holm"] = worst
    return differences


def _scale(budgets: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Log C50 over parameters and rank, for each attack with all its other settings, and side of the defence."""
    groups: dict[Any, list[ScalingPoint]] = defaultdict(list)
    for one in budgets:
        about, found = one["about"], one["c50"]
        if about["rank"] and about["parameters"]:
            point = ScalingPoint(about["parameters"], about["rank"], found["value"], found["low"], found["high"])
            names = ("attack", "recipe_id", "data", "learning_rate", "defended")
            groups[tuple((name, about[name]) for name in names)].append(point)
    fits: list[dict[str, Any]] = []
    for key, points in groups.items():
        about = dict(key)
        try:
            fits.append({"about": about, "fit": scaling_fit(points).to_json(), "reason": None})
        except (EmptyDataError, DataError) as error:
            fits.append({"about": about, "fit": None, "reason": str(error)})
    return fits


def _plain(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
