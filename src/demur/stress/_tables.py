"""Tables of a grid: every figure of every cell, curves over seeds, differences to the base, budgets of half."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl

from demur.paths import hash_value, replace_when_done, write_json
from demur.stress._config import StressConfig
from demur.stress._data import StressRows
from demur.stress._flat import flat_frames
from demur.stress._group import describe_cell
from demur.stress._summary import summarise

GRID_SCHEMA = {
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
    "seed": pl.Int64,
    "step": pl.Int64,
    "label": pl.String,
    "flops": pl.Float64,
    "trainable": pl.Int64,
    "examples": pl.Int64,
    "tokens": pl.Int64,
    "queries": pl.Int64,
    "seconds": pl.Float64,
    "censored": pl.Boolean,
    "judge": pl.String,
    "metric": pl.String,
    "value": pl.Float64,
    "low": pl.Float64,
    "high": pl.Float64,
    "n": pl.Int64,
    "reason": pl.String,
}
"""Columns of ``results_grid.csv``: one row for each figure. ``variant_id`` stands for all settings of the attack,
``recipe_id`` for all but rank and steps; ``variant`` is for people, and may be the same for two of them."""
_COST = ("flops", "trainable", "examples", "tokens", "queries", "seconds")
OUTCOME_SCHEMA = {
    name: GRID_SCHEMA[name]
    for name in ("model", "defended", "attack", "variant", "variant_id", "seed", "step", "label", "flops", "judge")
} | {"prompt": pl.String, "kind": pl.String, "category": pl.String, "outcome": pl.String}
"""Columns of ``results_prompts.csv``: one row for each judged response, by the prompt's id."""


def write_tables(
    folder: Path, cells: Sequence[Mapping[str, Any]], rows: StressRows, config: StressConfig
) -> dict[str, Any]:
    """Write all tables, and give the summary.

    Parameters
    ----------
    folder
        Takes ``results_grid.csv``, ``results_grid_<model>.csv``, ``results_prompts.csv``, ``results_curves.csv``,
        ``results_c50.csv``, ``results_survival.csv``, ``results_differences.csv``,
        ``results_left_out.csv`` and ``summary.json``.
    cells
        Results of cells.
    rows
        The prompts.
    config
        Draws and level.

    Raises
    ------
    StorageError
        The disk is full or not writable.
    """
    grid = grid_frame(cells)
    _write(folder / "results_grid.csv", grid)
    for model, name in file_names([one.title for one in config.models]).items():
        _write(folder / f"results_grid_{name}.csv", grid.filter(pl.col("model") == model))
    _write(folder / "results_prompts.csv", outcome_frame(cells, rows))
    summary = summarise(cells, rows, config)
    _write(folder / "results_curves.csv", curve_frame(summary))
    for name, frame in flat_frames(summary).items():
        _write(folder / f"results_{name}.csv", frame)
    write_json(folder / "summary.json", summary)
    return summary


def file_names(models: Sequence[str]) -> dict[str, str]:
    """What stands for each model in the names of files; no two the same, even where case does not count.

    Parameters
    ----------
    models
        Names that differ.
    """
    clean = {model: re.sub(r"[^A-Za-z0-9.+-]+", "-", model) for model in models}
    shared = Counter(one.lower() for one in clean.values())
    return {
        model: name if shared[name.lower()] == 1 else f"{name}-{hash_value(model)[:8]}"
        for model, name in clean.items()
    }


def grid_frame(cells: Sequence[Mapping[str, Any]]) -> pl.DataFrame:
    """Every figure of every stage of every cell.

    Parameters
    ----------
    cells
        Results of cells.
    """
    found = []
    for cell in cells:
        about = describe_cell(cell)
        for stage in cell["stages"]:
            shared = about | _stage(cell, stage)
            found += [shared | metric for metric in stage["metrics"]]
    return pl.DataFrame(found, schema=GRID_SCHEMA, strict=False)


def outcome_frame(cells: Sequence[Mapping[str, Any]], rows: StressRows) -> pl.DataFrame:
    """The outcome of every response by every judge; prompts by id alone.

    Parameters
    ----------
    cells
        Results of cells.
    rows
        The prompts.
    """
    prompts = {one.id: {"prompt": one.id, "kind": one.kind, "category": one.category} for one in rows.prompts}
    found = []
    for cell in cells:
        about = describe_cell(cell)
        for stage in cell["stages"]:
            shared = about | _stage(cell, stage)
            kept = {name: shared[name] for name in OUTCOME_SCHEMA if name in shared}
            found += [
                kept | prompts[prompt] | {"judge": judge, "outcome": outcome}
                for judge, outcomes in stage["outcomes"].items()
                for prompt, outcome in outcomes.items()
            ]
    return pl.DataFrame(found, schema=OUTCOME_SCHEMA, strict=False)


def curve_frame(summary: Mapping[str, Any]) -> pl.DataFrame:
    """The curves of a summary as a table: one row for each step and figure.

    Parameters
    ----------
    summary
        From :func:`demur.stress._summary.summarise`.
    """
    schema = {
        name: GRID_SCHEMA[name]
        for name in ("model", "parameters", "defended", "attack", "variant", "variant_id", "recipe_id", "access")
    } | {
        name: GRID_SCHEMA[name]
        for name in (
            "data",
            "rank",
            "learning_rate",
            "judge",
            "metric",
            "step",
            "label",
            "flops",
            "value",
            "low",
            "high",
            "n",
            "reason",
        )
    }
    schema |= {"uncorrected": pl.Float64, "is_corrected": pl.Boolean}
    schema |= {"kind": pl.String, "n_seeds": pl.Int64, "seeds_reached": pl.Int64, "n_clusters": pl.Int64}
    shared = ("judge", "metric", "kind", "n_seeds", "n_clusters")
    found = [
        {**curve["about"], **point, **{name: curve[name] for name in shared}}
        for curve in summary["curves"]
        for point in curve["points"]
    ]
    return pl.DataFrame([{name: row.get(name) for name in schema} for row in found], schema=schema, strict=False)


def _stage(cell: Mapping[str, Any], stage: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "parameters": stage["parameters"],
        "step": stage["step"],
        "label": stage["label"],
        "censored": cell["censored"] is not None,
        **{name: stage["cost"][name] for name in _COST},
    }


def _write(path: Path, frame: pl.DataFrame) -> None:
    with replace_when_done(path) as part:
        frame.write_csv(part)
