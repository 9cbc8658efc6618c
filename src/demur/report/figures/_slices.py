"""Macro-F1 on the rows of one source or one answering model at a time: where a pooled figure hides a hole."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from demur.analysis import Predicted
from demur.metrics import Estimate, evaluate
from demur.report import _words as words
from demur.report._run import RunView
from demur.report._views import ModelView, TaskView, has_interval
from demur.report.figures import _style as style
from demur.report.figures._drawing import Drawing, cohort, tick_name

LEAST_ROWS = 20
"""Slices with fewer rows are named, not measured."""
_MOST_SLICES, _DRAWS = 16, 500


@dataclass(frozen=True)
class Slice:
    """One value of a column, the rows that have it, and each model's figure on them."""

    value: str
    n: int
    estimates: dict[str, Estimate]
    classes: int
    """Classes of the task with a true row in the slice; the average is over these."""


def draw_sources(run: RunView, task: TaskView) -> Drawing | None:
    """Macro-F1 by source."""
    return _draw(run, task, "source", "source")


def draw_answerers(run: RunView, task: TaskView) -> Drawing | None:
    """Macro-F1 by the language model that answered."""
    return _draw(run, task, "answerer", "answering model")


def measure_slices(
    run: RunView, task: TaskView, models: Sequence[tuple[ModelView, Predicted]], column: str
) -> tuple[list[Slice], list[tuple[str, int]]]:
    """The slices with enough rows, most rows first, and the names and rows of those without."""
    rows = models[0][1]
    values = np.array([value or "" for value in rows.column(column)], dtype=object)
    names, counts = np.unique(values, return_counts=True)
    found = sorted(
        ((str(name), int(n)) for name, n in zip(names, counts, strict=True) if name), key=lambda p: (-p[1], p[0])
    )
    few = [(name, n) for name, n in found if n < LEAST_ROWS]
    slices: list[Slice] = []
    for name, n in found:
        if n < LEAST_ROWS or len(slices) == _MOST_SLICES:
            continue
        places = np.flatnonzero(values == name)
        estimates = {model.name: _measure(run, task, given.take(places)) for model, given in models}
        slices.append(Slice(name, n, estimates, len(np.unique(rows.y[places]))))
    return slices, few


def _measure(run: RunView, task: TaskView, rows: Predicted) -> Estimate:
    draws = min(run.draws, _DRAWS)
    found = evaluate(task.definition, rows.y, rows.proba, rows.groups, draws=draws, level=run.level, seed=run.seed)
    return found.metrics["f1_macro"]


def _draw(run: RunView, task: TaskView, column: str, title: str) -> Drawing | None:
    models = _chosen(run, task)
    if not models:
        return None
    slices, few = measure_slices(run, task, models, column)
    if not slices or len(slices) + len(few) < 2:
        return None
    figure = _draw_slices(task, [model for model, _ in models], slices)
    winner = models[0][0]
    left_out = "; ".join(f"{name} (n = {n})" for name, n in few[:8]) + ("; …" if len(few) > 8 else "")
    spoken = "; ".join(
        f"{part.value} {words.with_interval(part.estimates[winner.name], 2)}, n = {part.n}" for part in slices
    )
    return Drawing(
        figure,
        f"By {title}",
        f"Macro-F1 with its {run.level_words} interval on the rows of each {title} ({cohort(task)}). It averages "
        "the classes that a slice has, so compare models within a slice rather than slices with each other."
        + (f" Fewer than {LEAST_ROWS} rows, not measured: {left_out}." if few else ""),
        f"Macro-F1 of {winner.name} by {title}: {spoken}.",
    )


def _chosen(run: RunView, task: TaskView) -> list[tuple[ModelView, Predicted]]:
    """The winner, the runner-up and the rules, on the very same rows."""
    names = [model.name for model in (task.winner, task.runner_up, task.rules) if model]
    found = {model.name: (model, rows) for model, rows in run.main_predictions(task)}
    models = [found[name] for name in dict.fromkeys(names) if name in found]
    return [pair for pair in models if pair[1].ids == models[0][1].ids]


def _draw_slices(task: TaskView, models: Sequence[ModelView], slices: Sequence[Slice]) -> Any:
    rules = task.rules.name if task.rules else None
    colours = style.model_colours([model.name for model in models], task.raw.get("winner"), rules)
    figure = style.new_figure(1.15 + (0.16 + 0.17 * len(models)) * len(slices))
    axis = figure.subplots()
    style.clean_axis(axis, "x")
    axis.spines["left"].set_visible(False)
    for row, part in enumerate(slices):
        if row % 2 == 0:
            axis.axhspan(row - 0.5, row + 0.5, color=style.STRIPE, lw=0, zorder=0)
        for place, model in enumerate(models):
            shift = (place - (len(models) - 1) / 2) * 0.8 / len(models)
            _draw_dot(axis, row + shift, part.estimates[model.name], colours[model.name], style.MARKERS[place])
    axis.set_yticks(range(len(slices)), [_slice_label(task, part) for part in slices])
    axis.set_ylim(len(slices) - 0.5, -0.5)
    values = [v for p in slices for e in p.estimates.values() for v in (e.value, e.low, e.high) if v is not None]
    bounds = style.padded_range(values or [0.0, 1.0])
    axis.set_xlim(*bounds)
    axis.set_xticks(style.unit_ticks(*bounds))
    axis.set_xlabel("macro-F1")
    _legend(figure, models, colours)
    return figure


def _draw_dot(axis: Any, y: float, estimate: Estimate, colour: str, marker: str) -> None:
    if has_interval(estimate):
        axis.plot([estimate.low, estimate.high], [y, y], color=colour, lw=1.5, zorder=2)
    if estimate.value is not None:
        axis.plot([estimate.value], [y], marker, color=colour, ms=6, mec="white", mew=0.7, zorder=3)


def _slice_label(task: TaskView, part: Slice) -> str:
    """The slice's name over its rows, and its classes where it lacks one."""
    lacks = f" · {part.classes} of {len(task.labels)} classes" if part.classes < len(task.labels) else ""
    return f"{tick_name(part.value, 30)}\nn = {part.n}{lacks}"


def _legend(figure: Any, models: Sequence[ModelView], colours: dict[str, str]) -> None:
    from matplotlib.lines import Line2D

    handles = [
        Line2D([], [], marker=style.MARKERS[place], color=colours[model.name], ms=6, lw=1.5)
        for place, model in enumerate(models)
    ]
    figure.legend(
        handles, [tick_name(model.name, 34) for model in models], loc="outside upper left", ncols=len(models)
    )
