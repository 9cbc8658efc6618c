"""The summary's budgets of half, survival and paired differences as tables, so that CSV files alone tell all."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import polars as pl

_ABOUT = {
    "model": pl.String,
    "parameters": pl.Int64,
    "defended": pl.Boolean,
    "attack": pl.String,
    "variant": pl.String,
    "variant_id": pl.String,
    "recipe_id": pl.String,
    "access": pl.String,
    "data": pl.String,
    "rank": pl.Int64,
    "learning_rate": pl.Float64,
    "judge": pl.String,
}
_FIGURE = {"value": pl.Float64, "low": pl.Float64, "high": pl.Float64, "n": pl.Int64, "reason": pl.String}
C50_SCHEMA = (
    _ABOUT
    | _FIGURE
    | {
        "bound": pl.String,
        "bound_at": pl.Float64,
        "slope": pl.Float64,
        "n_broken": pl.Int64,
        "n_at_start": pl.Int64,
        "method": pl.String,
    }
)
"""Columns of ``results_c50.csv``: one row for each attack with steps."""
SURVIVAL_SCHEMA = _ABOUT | {"step": pl.Int64} | _FIGURE
"""Columns of ``results_survival.csv``: share of prompts that no checkpoint up to a step complied with."""
DIFFERENCE_SCHEMA = (
    _ABOUT
    | {"to": pl.String, "metric": pl.String, "step": pl.Int64, "label": pl.String}
    | {"base": pl.Float64, "hardened": pl.Float64}
    | _FIGURE
    | {"p": pl.Float64, "p_holm": pl.Float64}
)
"""Columns of ``results_differences.csv``: ``hardened`` less ``base``, on the same seeds and prompts."""
LEFT_OUT_SCHEMA = {name: kind for name, kind in _ABOUT.items() if name not in ("parameters", "judge")} | {
    "seed": pl.Int64,
    "status": pl.String,
    "reason": pl.String,
}
"""Columns of ``results_left_out.csv``: one row for each cell without figures, ``skipped`` or ``failed``."""


def flat_frames(summary: Mapping[str, Any]) -> dict[str, pl.DataFrame]:
    """Name of a table to its rows: ``c50``, ``survival``, ``differences``, ``left_out``.

    Parameters
    ----------
    summary
        From :func:`demur.stress._summary.summarise`.
    """
    budgets, differences = summary.get("budgets", ()), summary.get("differences", ())
    return {
        "c50": _frame((row for one in budgets for row in _c50(one)), C50_SCHEMA),
        "survival": _frame((row for one in budgets for row in _survival(one)), SURVIVAL_SCHEMA),
        "differences": _frame((row for one in differences for row in _difference(one)), DIFFERENCE_SCHEMA),
        "left_out": _frame(iter(summary.get("left_out", ())), LEFT_OUT_SCHEMA),
    }


def _c50(budget: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    yield {**budget["about"], "judge": budget["judge"], **budget["c50"]}


def _survival(budget: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    curve = budget["survival_steps"]
    for step, point in zip(curve["budgets"], curve["points"], strict=True):
        yield {**budget["about"], "judge": budget["judge"], "step": int(step), **point}


def _difference(found: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    about = {**found["about"], "judge": found["judge"], "to": found["to"], "metric": found["metric"]}
    for point in found["points"]:
        rest = {name: point.get(name) for name in ("step", "label", "base", "p", "p_holm")}
        yield {**about, **rest, "hardened": point["value"], **point["difference"]}


def _frame(rows: Iterator[dict[str, Any]], schema: Mapping[str, Any]) -> pl.DataFrame:
    kept = [{name: row.get(name) for name in schema} for row in rows]
    return pl.DataFrame(kept, schema=dict(schema), strict=False)
