"""A finished stress folder, read lazily from its CSV files; the summary adds words to the page, and no figure.

This is the only place that knows the columns. What is missing is empty, and what cannot be read is named in
``problems``; choosing, drawing and wording are left to the other modules.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

from demur.errors import RunError
from demur.metrics import Estimate
from demur.report._views import finite
from demur.report.stress._cells import Cell, Cost, Curve, Difference, HalfPoint, LeftOut, Point, join_points

METRICS_FOLDER = Path("results", "metrics")
GRID, LEFT_OUT = "results_grid.csv", "results_left_out.csv"
UNDEFENDED, UNTAMPERED = "undefended model", "untampered base"
"""What paired differences are to."""
Row = dict[str, str]
_TRUE = ("true", "1", "yes")


class StressView:
    """A stress folder; nothing is read before it is asked for.

    Parameters
    ----------
    folder
        The run folder, as ``demur stress`` leaves it.
    """

    def __init__(self, folder: Path | str) -> None:
        self.folder = Path(folder)
        self.problems: list[str] = []
        """What could not be read, in words; filled while reading."""

    @cached_property
    def summary(self) -> dict[str, Any]:
        """The contents of ``summary.json``; empty where there is none."""
        return self._mapping(METRICS_FOLDER / "summary.json")

    @cached_property
    def about(self) -> dict[str, Any]:
        """The contents of ``stress.json``: configuration, version, data, machine; empty where there is none."""
        return self._mapping(Path("stress.json"))

    @property
    def config(self) -> Mapping[str, Any]:
        """The configuration of the run; empty where it is not known."""
        found = self.about.get("config")
        return found if isinstance(found, Mapping) else {}

    @property
    def name(self) -> str:
        return str(self.config.get("name") or self.folder.resolve().name)

    @property
    def level(self) -> float:
        """Of the intervals."""
        return finite(self.config.get("level")) or 0.95

    @property
    def level_words(self) -> str:
        """The level of the intervals as people say it: ``95 %``."""
        return f"{100 * self.level:g} %"

    @cached_property
    def rows(self) -> list[Row]:
        """Rows of the grid.

        Raises
        ------
        RunError
            There is no grid; finish the run with ``demur stress``.
        """
        path = self.folder / METRICS_FOLDER / GRID
        if not path.is_file():
            raise RunError(
                f"{self.folder} holds no {METRICS_FOLDER / GRID}; give the folder of a run, or finish it with "
                "demur stress"
            )
        found = self._table(GRID)
        wanted = {"model", "attack", "metric", "value"}
        if found and not wanted <= set(found[0]):
            lacking = ", ".join(sorted(wanted - set(found[0])))
            raise RunError(f"{path} lacks the columns {lacking}; run demur stress again, which writes it anew")
        return found

    @cached_property
    def judge(self) -> str:
        """The judge whose figures are shown: the configuration's first."""
        return next((row["judge"] for row in self.rows if row.get("judge")), "")

    @cached_property
    def judges(self) -> list[str]:
        """All judges, the first first."""
        return list(dict.fromkeys(row["judge"] for row in self.rows if row.get("judge")))

    @cached_property
    def models(self) -> list[str]:
        """Models in the order of the grid."""
        return list(dict.fromkeys(row["model"] for row in self.rows))

    @cached_property
    def attacks(self) -> list[str]:
        """Attacks in the order of the grid."""
        return list(dict.fromkeys(row["attack"] for row in self.rows))

    @cached_property
    def seeds(self) -> list[str]:
        """Seeds, in the order of the grid."""
        return list(dict.fromkeys(row["seed"] for row in self.rows if row.get("seed")))

    @cached_property
    def has_defence(self) -> bool:
        """Whether any model was stressed with a defence."""
        return any(_is_true(row.get("defended")) for row in (*self.rows, *self._left_out))

    @cached_property
    def access(self) -> dict[str, str]:
        """Attack to what the attacker must hold."""
        return {row["attack"]: row["access"] for row in (*self.rows, *self._left_out) if row.get("access")}

    @cached_property
    def left_out(self) -> list[LeftOut]:
        """Cells without figures, or without those of their later steps; each with the reason."""
        return [
            LeftOut(self._cell(row), row.get("seed", ""), row.get("reason") or "no reason is known")
            for row in self._left_out
        ]

    @cached_property
    def _left_out(self) -> list[Row]:
        """From their table; of a folder of an earlier version from its summary."""
        if (self.folder / METRICS_FOLDER / LEFT_OUT).is_file():
            return self._table(LEFT_OUT)
        found = self.summary.get("left_out") or ()
        return [
            {name: "" if value is None else str(value) for name, value in one.items()}
            for one in found
            if isinstance(one, Mapping)
        ]

    def curves(self, metric: str, judge: str | None = None) -> list[Curve]:
        """One figure of every cell, in the order of the grid.

        Parameters
        ----------
        metric
            Its name.
        judge
            Whose; the first where None.
        """
        wanted = ("", self.judge if judge is None else judge)
        found: dict[Cell, tuple[list[Row], list[Row]]] = {}
        for number, rows in enumerate((self._by_metric.get(metric, ()), self._pooled.get(metric, ()))):
            for row in rows:
                if row.get("judge", "") in wanted:
                    found.setdefault(self._cell(row), ([], []))[number].append(row)
        return [_curve(cell, *rows, self.level) for cell, rows in found.items()]

    @cached_property
    def _by_metric(self) -> dict[str, list[Row]]:
        return _group(self.rows)

    @cached_property
    def _pooled(self) -> dict[str, list[Row]]:
        return _group(self._table("results_curves.csv"))

    def c50s(self) -> list[HalfPoint]:
        """C50 of the cells that have one, or a bound."""
        return [
            HalfPoint(self._cell(row), _float(row, "parameters"), _estimate(row), row.get("bound", ""), bound_at)
            for row in self._table("results_c50.csv")
            for bound_at in (_float(row, "bound_at"),)
        ]

    def survivals(self) -> list[Curve]:
        """Share of prompts that still hold, by step, of every cell."""
        found: dict[Cell, list[Row]] = {}
        for row in self._table("results_survival.csv"):
            found.setdefault(self._cell(row), []).append(row)
        return [_curve(cell, [], rows, self.level) for cell, rows in found.items()]

    def differences(self, metric: str, to: str = UNDEFENDED) -> list[Difference]:
        """Paired differences: of defended models to the undefended ones, or to the untampered base.

        Parameters
        ----------
        metric
            Of what.
        to
            ``UNDEFENDED`` or ``UNTAMPERED``.
        """
        return [
            Difference(
                self._cell(row),
                _step(row),
                metric,
                _float(row, "base"),
                _float(row, "hardened"),
                _estimate(row),
                _float(row, "p"),
                _float(row, "p_holm"),
            )
            for row in self._table("results_differences.csv")
            if row.get("metric") == metric and row.get("to") == to
        ]

    def _cell(self, row: Mapping[str, str]) -> Cell:
        found = _cell(row)
        return replace(found, is_ambiguous=True) if found.variant_id in self._alike else found

    @cached_property
    def _alike(self) -> set[str]:
        """Variants whose settings read like those of another variant of the same attack."""
        found: dict[tuple[str, str], set[str]] = {}
        for row in self.rows:
            cell = replace(_cell(row), label="")
            found.setdefault((cell.attack, cell.setting), set()).add(cell.variant_id)
        return {one for ids in found.values() if len(ids) > 1 for one in ids}

    def _mapping(self, name: Path) -> dict[str, Any]:
        path = self.folder / name
        if not path.is_file():
            return {}
        try:
            found = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            self.problems.append(f"{name.name} could not be read ({error})")
            return {}
        return found if isinstance(found, dict) else {}

    def _table(self, name: str) -> list[Row]:
        path = self.folder / METRICS_FOLDER / name
        if not path.is_file():
            return []
        try:
            with path.open(encoding="utf-8", newline="") as handle:
                return [{key: value or "" for key, value in row.items() if key} for row in csv.DictReader(handle)]
        except (OSError, ValueError, csv.Error) as error:
            self.problems.append(f"{name} could not be read ({error})")
            return []


def _group(rows: Sequence[Row]) -> dict[str, list[Row]]:
    found: dict[str, list[Row]] = {}
    for row in rows:
        found.setdefault(row.get("metric", ""), []).append(row)
    return found


def _curve(cell: Cell, rows: Sequence[Row], pooled: Sequence[Row], level: float) -> Curve:
    """Rows of the grid are of a seed each; those over all seeds have their costs from them."""
    seeds: dict[int, list[Point]] = {}
    for row in rows:
        seeds.setdefault(int(_float(row, "seed") or 0), []).append(_point(row))
    by_step: dict[int, list[Point]] = {}
    for points in seeds.values():
        for point in points:
            by_step.setdefault(point.step, []).append(point)
    joined = {step: join_points(found, level) for step, found in by_step.items()}
    over = [_with_cost(_point(row), joined) for row in pooled] or list(joined.values())
    alone = {seed: _known(points) for seed, points in sorted(seeds.items())}
    missing = next((point.estimate.reason or "" for point in over if point.estimate.value is None), "")
    parameters = next((one for row in (*rows, *pooled) if (one := _float(row, "parameters"))), None)
    return Curve(cell, _known(over), alone, parameters, missing)


def _known(points: Sequence[Point]) -> tuple[Point, ...]:
    return tuple(sorted((one for one in points if one.estimate.value is not None), key=lambda one: one.step))


def _with_cost(point: Point, seeds: Mapping[int, Point]) -> Point:
    found = seeds.get(point.step)
    return replace(point, cost=found.cost, is_censored=found.is_censored) if found else point


def _point(row: Mapping[str, str]) -> Point:
    names = ("flops", "trainable", "examples", "queries", "seconds")
    cost = Cost(**{name: _float(row, name) for name in names})
    return Point(_step(row), _estimate(row), cost, _is_true(row.get("censored")), _float(row, "uncorrected"))


def _estimate(row: Mapping[str, str]) -> Estimate:
    value, low, high = (_float(row, name) for name in ("value", "low", "high"))
    return Estimate(value, low, high, int(_float(row, "n") or 0), row.get("reason") or None)


def _cell(row: Mapping[str, str]) -> Cell:
    return Cell(
        row.get("model", ""),
        _is_true(row.get("defended")),
        row.get("attack", ""),
        row.get("variant", ""),
        row.get("label", ""),
        row.get("data", ""),
        row.get("rank", ""),
        row.get("learning_rate", ""),
        row.get("variant_id", ""),
        row.get("recipe_id", ""),
    )


def _step(row: Mapping[str, str]) -> int:
    return int(_float(row, "step") or 0)


def _float(row: Mapping[str, str], name: str) -> float | None:
    try:
        return finite(float(row[name]))
    except (KeyError, TypeError, ValueError):
        return None


def _is_true(text: str | None) -> bool:
    return (text or "").strip().lower() in _TRUE
