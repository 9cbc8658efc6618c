"""Curves over thresholds and confidences: calibration, ROC, precision-recall."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from demur.analysis import Predicted
from demur.metrics import average_precision, reliability_curve, roc_auc
from demur.report import _words as words
from demur.report._run import RunView
from demur.report._views import ModelView, TaskView
from demur.report.figures import _style as style
from demur.report.figures._drawing import Drawing, cohort_sentence, tick_name
from demur.report.figures._rows import is_winner

Line = tuple[NDArray[np.float64], NDArray[np.float64]]
_COLUMNS, _BINS = 4, 10
_DRAWN = {"AUC": "default", "AP": "steps-pre"}
"""Straight lines would flatter a precision-recall curve (Davis and Goadrich 2006, section 4)."""


def draw_calibration(run: RunView, task: TaskView) -> Drawing | None:
    """Confidence against accuracy, a small panel for each model, with the expected calibration error."""
    found = {model.name: (model, rows) for model, rows in run.main_predictions(task)}
    models = [found[model.name] for model in task.ranked() if model.name in found]
    if not models:
        return None
    lines = math.ceil(len(models) / _COLUMNS)
    columns = math.ceil(len(models) / lines)
    figure = style.new_figure(0.5 + 2.25 * lines, width=max(style.WIDTH * columns / _COLUMNS, 4.2))
    axes = figure.subplots(lines, columns, sharex=True, sharey=True, squeeze=False)
    for number, axis in enumerate(axes.flat):
        if number < len(models):
            _draw_reliability(axis, task, *models[number])
        else:
            axis.set_visible(False)
    for column in range(columns):
        last = max(row for row in range(lines) if row * columns + column < len(models))
        axes[last][column].tick_params(labelbottom=True)
    figure.supxlabel("confidence in the called label", size=9, color=style.MUTED)
    figure.supylabel("share that is right", size=9, color=style.MUTED)
    spoken = "; ".join(f"{model.name} {words.with_interval(model.metric('ece'), 2)}" for model, _ in models)
    return Drawing(
        figure,
        "Calibration",
        f"{cohort_sentence(task)} Bins hold about the same number of rows; the thin line is each bin's "
        f"{run.level_words} interval. On the diagonal a confidence of 0.8 is right 8 times in 10; below it the "
        "model is too sure of itself. ECE is the mean gap.",
        f"Reliability curves. Expected calibration error: {spoken}.",
    )


def _draw_reliability(axis: Any, task: TaskView, model: ModelView, rows: Predicted) -> None:
    frame = reliability_curve(rows.y, rows.proba, bins=_BINS).frame()
    x, y = frame.get_column("confidence").to_numpy(), frame.get_column("accuracy").to_numpy()
    colour = (
        style.WINNER_COLOUR if is_winner(task, model) else style.RULES_COLOUR if model.is_rules else style.BLUE
    )
    style.clean_axis(axis, "both")
    axis.plot([0, 1], [0, 1], color=style.FAINT, lw=1, ls=(0, (4, 3)), zorder=1)
    axis.vlines(
        x, frame.get_column("low").to_numpy(), frame.get_column("high").to_numpy(), color=colour, lw=1, alpha=0.5
    )
    axis.plot(x, y, "-o", color=colour, lw=1.3, ms=4, mec="white", mew=0.6, zorder=3)
    axis.set_xlim(0, 1.02)
    axis.set_ylim(0, 1.02)
    axis.set_xticks([0, 0.5, 1], ["0", "0.5", "1"])
    axis.set_yticks([0, 0.5, 1], ["0", "0.5", "1"])
    star = "★ " if is_winner(task, model) else ""
    axis.set_title(f"{star}{tick_name(model.name, 21)}", size=8.5, weight="bold" if star else "normal")
    ece = model.metric("ece").value
    shown = words.MISSING if ece is None else f"{ece:.3f}"
    axis.text(0.04, 0.93, f"ECE {shown}", transform=axis.transAxes, va="top", size=8, color=style.MUTED)


def draw_roc(run: RunView, task: TaskView) -> Drawing | None:
    """ROC curves: threats against the rest for all models, every class for the winner."""
    return _draw_ranked(
        run,
        task,
        roc_line,
        roc_auc,
        ("ROC curves", "AUC", "false-positive rate", "true-positive rate (recall)"),
    )


def draw_pr(run: RunView, task: TaskView) -> Drawing | None:
    """Precision-recall curves: threats against the rest for all models, every class for the winner."""
    return _draw_ranked(
        run, task, pr_line, average_precision, ("Precision and recall", "AP", "recall", "precision")
    )


def roc_line(positive: NDArray[np.bool_], score: NDArray[np.float64]) -> Line:
    """False- and true-positive rate at every threshold, from (0, 0) to (1, 1), ``(t,)`` each."""
    hits, false = _counts(positive, score)
    return (
        np.concatenate([[0.0], false / max(false[-1], 1)]),
        np.concatenate([[0.0], hits / max(hits[-1], 1)]),
    )


def pr_line(positive: NDArray[np.bool_], score: NDArray[np.float64]) -> Line:
    """Recall and precision at every threshold that finds more, from recall 0 to 1, ``(t,)`` each."""
    hits, false = _counts(positive, score)
    gains = np.diff(hits, prepend=0.0) > 0  # a threshold that only adds errors is no point anyone would choose
    hits, false = hits[gains], false[gains]
    precision = hits / np.maximum(hits + false, 1)
    return np.concatenate([[0.0], hits / max(hits[-1], 1)]), np.concatenate([[precision[0]], precision])


def _counts(positive: NDArray[np.bool_], score: NDArray[np.float64]) -> Line:
    order = np.argsort(-score, kind="stable")
    ranked, ordered = positive[order].astype(np.float64), score[order]
    ends = np.append(np.flatnonzero(np.diff(ordered)), len(ordered) - 1)  # tied scores are one threshold
    hits = np.cumsum(ranked)[ends]
    return hits, ends + 1.0 - hits


def _draw_ranked(
    run: RunView,
    task: TaskView,
    line: Callable[[NDArray[np.bool_], NDArray[np.float64]], Line],
    area: Callable[[NDArray[np.bool_], NDArray[np.float64]], float],
    texts: tuple[str, str, str, str],
) -> Drawing | None:
    title, short, xlabel, ylabel = texts
    found = {model.name: (model, rows) for model, rows in run.main_predictions(task)}
    models = [found[model.name] for model in task.ranked() if model.name in found]
    threat = task.threat_ids
    if not models or not threat or not _has_both(np.isin(models[0][1].y, threat)):
        return None
    figure = style.new_figure(4.1)
    left, right = figure.subplots(1, 2)
    curves = []
    for model, rows in models:
        positive, score = np.isin(rows.y, threat), rows.proba[:, threat].sum(axis=1)
        curves.append((model, line(positive, score), area(positive, score)))
    _draw_models(left, task, curves, short)
    first = next((pair for pair in models if is_winner(task, pair[0])), models[0])
    classes = _draw_classes(right, task, first, line, area, short)
    if short == "AP":
        share = float(np.isin(models[0][1].y, threat).mean())
        left.axhline(share, color=style.FAINT, lw=0.8, ls=(0, (4, 3)), zorder=1)
        left.text(1.0, share - 0.015, "guessing", ha="right", va="top", size=7.5, color=style.MUTED)
    names = " or ".join(task.labels[number] for number in threat)
    left.set_title(f"{tick_name(names, 34)} against the rest", size=9)
    right.set_title(f"{tick_name(first[0].name, 24)}: each class", size=9)
    for axis in (left, right):
        _finish(axis, xlabel, ylabel, short == "AUC")
    spoken = "; ".join(f"{model.name} {value:.3f}" for model, _, value in curves)
    return Drawing(
        figure,
        title,
        f"{cohort_sentence(task)} Left: how well each model tells a threat ({names}) from the rest; the winner, "
        "the rules and the best others are in colour, grey lines are the remaining ones. Right: each class of "
        f"{first[0].name} against the others. {short} is the area under the curve; the league table "
        "has it over all classes, with its interval.",
        f"{title}, {short} for threats against the rest: {spoken}. {first[0].name} by class: {classes}.",
    )


def _has_both(positive: NDArray[np.bool_]) -> bool:
    return bool(positive.any() and not positive.all())


def _draw_models(axis: Any, task: TaskView, curves: Sequence[tuple[ModelView, Line, float]], short: str) -> None:
    rules = task.rules.name if task.rules else None
    colours = style.model_colours([model.name for model, _, _ in curves], task.raw.get("winner"), rules)
    quiet = [entry for entry in curves if colours[entry[0].name] == style.FAINT]
    for _, (x, y), _ in quiet:
        axis.plot(x, y, color=style.FAINT, lw=0.8, zorder=2, drawstyle=_DRAWN[short])
    for model, (x, y), value in reversed([entry for entry in curves if colours[entry[0].name] != style.FAINT]):
        is_first = is_winner(task, model)
        axis.plot(
            x,
            y,
            color=colours[model.name],
            lw=2.2 if is_first else 1.3,
            ls=(0, (4, 2)) if model.is_rules else "-",
            drawstyle=_DRAWN[short],
            zorder=5 if is_first else 4 if model.is_rules else 3,
            label=f"{'★ ' if is_first else ''}{tick_name(model.name, 22)}  {short} {value:.2f}",
        )
    handles, labels = axis.get_legend_handles_labels()
    order = list(reversed(range(len(handles))))
    if quiet:
        from matplotlib.lines import Line2D

        handles.append(Line2D([], [], color=style.FAINT, lw=0.8))
        labels.append(f"{len(quiet)} other{'s' if len(quiet) > 1 else ''}")
        order.append(len(handles) - 1)
    axis.legend([handles[i] for i in order], [labels[i] for i in order], loc=_corner(short), fontsize=7.5)


def _draw_classes(
    axis: Any,
    task: TaskView,
    first: tuple[ModelView, Predicted],
    line: Callable[[NDArray[np.bool_], NDArray[np.float64]], Line],
    area: Callable[[NDArray[np.bool_], NDArray[np.float64]], float],
    short: str,
) -> str:
    rows, spoken = first[1], []
    for number, label in enumerate(task.labels):
        positive = rows.y == number
        if not _has_both(positive):
            continue
        x, y = line(positive, rows.proba[:, number])
        value = area(positive, rows.proba[:, number])
        colour = style.CLASS_COLOURS[number % len(style.CLASS_COLOURS)]
        axis.plot(
            x,
            y,
            color=colour,
            lw=1.8,
            drawstyle=_DRAWN[short],
            label=f"{tick_name(label, 22)}  {short} {value:.2f}  n = {int(positive.sum())}",
        )
        spoken.append(f"{label} {value:.3f}")
    if spoken:
        axis.legend(loc=_corner(short), fontsize=7.5)
    return "; ".join(spoken)


def _corner(short: str) -> str:
    return "lower right" if short == "AUC" else "lower left"


def _finish(axis: Any, xlabel: str, ylabel: str, is_roc: bool) -> None:
    style.clean_axis(axis, "both")
    if is_roc:
        axis.plot([0, 1], [0, 1], color=style.FAINT, lw=0.8, ls=(0, (4, 3)), zorder=1)
    axis.set_xlim(-0.01, 1.01)
    axis.set_ylim(-0.01, 1.02)
    axis.set_xticks([0, 0.25, 0.5, 0.75, 1.0])
    axis.set_yticks([0, 0.25, 0.5, 0.75, 1.0])
    axis.set_xlabel(xlabel)
    axis.set_ylabel(ylabel)
