"""Curves over seeds with intervals, paired differences, budgets of half, survival: what is read first."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from demur.errors import DataError, EmptyDataError
from demur.metrics import (
    JudgeCalibration,
    ScalingPoint,
    c50,
    carry_forward,
    curve_area,
    first_breaks,
    outcome_values,
    paired_difference,
    scaling_fit,
    survival,
    two_level_bootstrap,
)
from demur.stress._config import StressConfig
from demur.stress._data import StressRows
from demur.stress._jobs import UNTOUCHED
from demur.stress._measure import RATES, SAFE_RATES

_HEADLINE = ("rrr", "complied")
Floats = NDArray[np.float64]


def describe_cell(cell: Mapping[str, Any]) -> dict[str, Any]:
    """What tells a cell apart, as columns.

    Parameters
    ----------
    cell
        Its result.
    """
    about, settings = cell["cell"], cell["cell"]["settings"]
    return {
        "model": about["model"],
        "defended": about["defended"],
        "attack": about["attack"],
        "variant": describe_settings(settings),
        "access": about["access"],
        "data": settings.get("data"),
        "rank": settings.get("rank"),
        "learning_rate": settings.get("learning_rate"),
        "seed": about["seed"],
    }


def describe_settings(settings: Mapping[str, Any]) -> str:
    """Settings that tell variants of an attack apart, in a few words.

    Parameters
    ----------
    settings
        All of them.
    """
    shown = [
        f"{name}={value}"
        for name, value in settings.items()
        if name not in ("steps", "checkpoint_every")
        and isinstance(value, str | int | float)
        and len(str(value)) < 24
    ]
    return " ".join(shown)


class Group:
    """Cells that differ in the seed alone.

    Parameters
    ----------
    cells
        Their results.
    """

    def __init__(self, cells: Sequence[Mapping[str, Any]]) -> None:
        self.cells = list(cells)
        self.about = {name: one for name, one in describe_cell(self.cells[0]).items() if name != "seed"}
        self.seeds = [one["cell"]["seed"] for one in self.cells]
        stages = [(stage["step"], stage["label"]) for cell in self.cells for stage in cell["stages"]]
        order = {stage: place for place, stage in reversed(list(enumerate(stages)))}
        # By cost where they are steps, else as the attack gave them.
        self.stages = sorted(order, key=lambda stage: (stage[0], order[stage]))

    @property
    def has_steps(self) -> bool:
        """Whether its stages are steps of one run, so that a stopped run can be carried on."""
        return len(self.stages) > 1 and all(label == "" for _, label in self.stages)

    @property
    def parameters(self) -> int | None:
        """Of the model."""
        found = [stage["parameters"] for cell in self.cells for stage in cell["stages"]]
        return found[0] if found else None

    def values(self, rate: str, judge: str, prompts: Sequence[str]) -> Floats:
        """1 where a response counts, NaN where there is none: ``(seeds, stages, prompts)``."""
        found = np.full((len(self.cells), len(self.stages), len(prompts)), np.nan)
        for seed, cell in enumerate(self.cells):
            for stage in cell["stages"]:
                outcomes = stage["outcomes"][judge]
                place = self.stages.index((stage["step"], stage["label"]))
                found[seed, place] = outcome_values([outcomes[one] for one in prompts], rate)
        return found

    def flops(self) -> Floats:
        """Spent by each stage, ``(seeds, stages)``; a seed that was stopped has the others' for later ones."""
        found = np.full((len(self.cells), len(self.stages)), np.nan)
        for seed, cell in enumerate(self.cells):
            for stage in cell["stages"]:
                found[seed, self.stages.index((stage["step"], stage["label"]))] = stage["cost"]["flops"]
        means = np.array([one[~np.isnan(one)].mean() if (~np.isnan(one)).any() else np.nan for one in found.T])
        return np.where(np.isnan(found), means, found)


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
    groups = _group([one for one in cells if one["stages"]])
    summary = _Summary(groups, rows, config)
    curves = [curve for group in groups.values() for curve in summary.curves(group)]
    differences = [one for group in groups.values() for one in summary.differences(group)]
    budgets = [one for group in groups.values() for one in summary.budgets(group)]
    return {
        "judges": [one.title for one in config.judges],
        "curves": curves,
        "differences": _adjust(differences),
        "budgets": budgets,
        "scaling": _scale(budgets),
        "agreement": _join_agreement(cells),
        "left_out": [
            {**describe_cell(one), "status": one["status"], "reason": one["reason"]}
            for one in cells
            if one["status"] in ("skipped", "failed")
        ],
    }


class _Summary:
    def __init__(self, groups: Mapping[Any, Group], rows: StressRows, config: StressConfig) -> None:
        self._groups, self._config = groups, config
        self._first = config.judges[0].title
        self._options: Any = {"draws": config.draws, "level": config.level}
        self._prompts = {
            kind: [one.id for one in rows.prompts if one.kind == kind] for kind in ("harmful", "safe")
        }
        self._categories = {
            kind: [one.category for one in rows.prompts if one.kind == kind] for kind in ("harmful", "safe")
        }

    def curves(self, group: Group) -> list[dict[str, Any]]:
        """Every rate by every judge."""
        found = []
        for judge in self._config.judges:
            for kind, rates in (("harmful", RATES), ("safe", SAFE_RATES)):
                for metric, rate in rates.items() if self._prompts[kind] else ():
                    found.append(self._curve(group, judge, kind, (metric, rate)))
        return found

    def _curve(self, group: Group, judge: Any, kind: str, names: tuple[str, str]) -> dict[str, Any]:
        metric, rate = names
        raw = group.values(rate, judge.title, self._prompts[kind])
        values = carry_forward(raw) if group.has_steps else raw
        counts = judge.calibration.get(rate)
        calibration = JudgeCalibration(**counts.model_dump()) if counts else None
        curve = two_level_bootstrap(values, self._categories[kind], calibration, **self._options)
        flops = group.flops().mean(axis=0)
        points = [
            {
                "step": step,
                "label": label,
                "flops": _plain(flops[place]),
                **asdict(curve.points[place]),
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
            "by_seed": [list(one) for one in curve.by_seed],
            "seeds": group.seeds,
            "n_seeds": curve.n_seeds,
            "warnings": list(curve.warnings),
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
            if partner is not None:
                found += [self._difference(group, partner, "undefended model", metric) for metric in _HEADLINE]
        return [one for one in found if one is not None]

    def _find(self, about: Mapping[str, Any], attack: str, is_defended: bool) -> Group | None:
        for group in self._groups.values():
            same = group.about["model"] == about["model"] and group.about["attack"] == attack
            variant = attack == UNTOUCHED or group.about["variant"] == about["variant"]
            if same and variant and group.about["defended"] == is_defended:
                return group
        return None

    def _difference(self, group: Group, base: Group, to: str, metric: str) -> dict[str, Any] | None:
        """On the seeds and stages that both have."""
        prompts = self._prompts["harmful"]
        seeds = [one for one in group.seeds if one in base.seeds]
        rate = RATES[metric]
        ours, theirs = (self._carried(one, rate, seeds) for one in (group, base))
        if base.about["attack"] == UNTOUCHED and group.about["attack"] != UNTOUCHED:
            stages, ours_at = group.stages, list(range(len(group.stages)))
            theirs = theirs[:, 0]
        else:
            stages = [one for one in group.stages if one in base.stages]
            ours_at = [group.stages.index(one) for one in stages]
            theirs = theirs[:, [base.stages.index(one) for one in stages]]
        if not seeds or not stages or not prompts:
            return None
        curve = paired_difference(ours[:, ours_at], theirs, self._categories["harmful"], **self._options)
        points = [
            {"step": step, "label": label, **asdict(point)}
            for (step, label), point in zip(stages, curve.points, strict=True)
        ]
        return {
            "about": group.about,
            "to": to,
            "judge": self._first,
            "metric": metric,
            "points": points,
            "n_seeds": curve.n_seeds,
            "warnings": list(curve.warnings),
        }

    def _carried(self, group: Group, rate: str, seeds: Sequence[int]) -> Floats:
        found = group.values(rate, self._first, self._prompts["harmful"])
        kept = found[[group.seeds.index(one) for one in seeds]]
        return carry_forward(kept) if group.has_steps and len(kept) else kept

    def budgets(self, group: Group) -> list[dict[str, Any]]:
        """Budget of half, survival and area of attacks with steps, by the first judge."""
        flops = group.flops()
        if not group.has_steps or not (np.diff(flops, axis=1) > 0).all():
            return []
        complied = group.values("complied", self._first, self._prompts["harmful"])
        categories = self._categories["harmful"]
        breaks = first_breaks(complied, flops)
        steps = [step for step, _ in group.stages]
        return [
            {
                "about": group.about | {"parameters": group.parameters},
                "judge": self._first,
                "c50": c50(breaks, categories, **self._options).to_json(),
                "survival": survival(breaks, categories, **self._options).to_json(),
                "survival_steps": survival(
                    first_breaks(complied, np.array(steps, dtype=float)), categories, **self._options
                ).to_json(),
                "area_complied": asdict(curve_area(carry_forward(complied), steps, categories, **self._options)),
                "censored": sum(one["censored"] is not None for one in group.cells),
            }
        ]


def _group(cells: Sequence[Mapping[str, Any]]) -> dict[Any, Group]:
    found: dict[Any, list[Mapping[str, Any]]] = defaultdict(list)
    for cell in cells:
        about = describe_cell(cell)
        settings = repr(sorted(cell["cell"]["settings"].items()))
        found[(about["model"], about["defended"], about["attack"], settings)].append(cell)
    return {key: Group(one) for key, one in found.items()}


def _adjust(differences: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Holm's adjustment over the last points of all differences: the headline cells."""
    last = [one["points"][-1] for one in differences if one["points"][-1]["p"] is not None]
    order = sorted(range(len(last)), key=lambda place: last[place]["p"])
    worst = 0.0
    for rank, place in enumerate(order):
        worst = max(worst, min(1.0, last[place]["p"] * (len(last) - rank)))
        last[place]["p_holm"] = worst
    return differences


def _scale(budgets: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Log C50 over parameters and rank, for each attack, kind of data and side of the defence."""
    groups: dict[Any, list[ScalingPoint]] = defaultdict(list)
    for one in budgets:
        about, found = one["about"], one["c50"]
        if about["rank"] and about["parameters"]:
            point = ScalingPoint(about["parameters"], about["rank"], found["value"], found["low"], found["high"])
            groups[(about["attack"], about["data"], about["learning_rate"], about["defended"])].append(point)
    fits: list[dict[str, Any]] = []
    for (attack, data, rate, is_defended), points in groups.items():
        about = {"attack": attack, "data": data, "learning_rate": rate, "defended": is_defended}
        try:
            fits.append({"about": about, "fit": scaling_fit(points).to_json(), "reason": None})
        except (EmptyDataError, DataError) as error:
            fits.append({"about": about, "fit": None, "reason": str(error)})
    return fits


def _join_agreement(cells: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Agreement of judges over all stages: raw and kappa as means weighted by responses."""
    found: dict[tuple[str, str], list[Mapping[str, Any]]] = defaultdict(list)
    for cell in cells:
        for stage in cell["stages"]:
            for one in stage["agreement"]:
                found[tuple(one["judges"])].append(one)
    joined = []
    for pair, parts in found.items():
        row: dict[str, Any] = {"judges": list(pair), "n": sum(one["n"] for one in parts)}
        for name in ("raw", "kappa"):
            kept = [(one[name], one["n"]) for one in parts if one[name] is not None]
            total = sum(n for _, n in kept)
            row[name] = sum(value * n for value, n in kept) / total if total else None
        joined.append(row)
    return joined


def _plain(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
