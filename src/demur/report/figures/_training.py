"""How models learnt: loss and score by epoch, and the class weights that adaptive balancing moved."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from demur.report import _words as words
from demur.report._run import RunView
from demur.report._training import trajectory_of
from demur.report._views import ModelView, TaskView, finite
from demur.report.figures import _style as style
from demur.report.figures._drawing import Drawing, tick_name, wrapped_name

_MOST_CURVES, _MOST_PANELS = 8, 9
_COLUMNS = 3


def draw_learning(run: RunView, task: TaskView) -> Drawing | None:
    """Training and validation loss, and the score watched, by epoch."""
    curves = [(model, points) for model in task.ranked() if (points := _points(run, task, model))][:_MOST_CURVES]
    if not curves:
        return None
    names = [model.name for model, _ in curves]
    winner = task.raw.get("winner")
    colours = style.model_colours(names, winner if winner in names else None, None)
    figure = style.new_figure(3.2 + 0.22 * ((len(curves) + 2) // 3))
    losses, scores = figure.subplots(1, 2)
    for axis, title in ((losses, "Loss (dashed: held-out rows)"), (scores, "Security score of the held-out rows")):
        style.clean_axis(axis, "y")
        axis.set_title(title, pad=8)
        axis.set_xlabel("epoch")
    for model, points in curves:
        colour = colours[model.name]
        _draw_line(losses, points, "loss", colour, "-")
        _draw_line(losses, points, "valid_loss", colour, (0, (4, 2)))
        _draw_line(scores, points, "score", colour, "-")
        _mark_best(scores, run, task, model, points, colour)
    losses.set_ylim(0, _highest(curves, ("loss", "valid_loss")) * 1.08)
    last = _highest(curves, ("epoch",))
    for axis in (losses, scores):
        _whole_ticks(axis, last)
    _legend(figure, [(wrapped_name(name, 30).replace("\n", ""), colours[name]) for name in names])
    spoken = "; ".join(_spoken(model, points) for model, points in curves)
    return Drawing(
        figure,
        "Learning curves",
        "One line a model. The held-out rows are part of the training rows, set aside to stop early and to choose "
        "the epoch (ringed); no figure of the report is of them. A held-out loss that climbs while the training "
        "loss falls is overfitting.",
        f"Loss and score by epoch of {len(curves)} models. {spoken}.",
    )


def _points(run: RunView, task: TaskView, model: ModelView) -> list[Mapping[str, Any]]:
    found = run.curve(task.name, model.name)
    history = (found or {}).get("history")
    points = [point for point in history if isinstance(point, Mapping)] if isinstance(history, list) else []
    return [point for point in points if finite(point.get("epoch")) is not None]


def _draw_line(axis: Any, points: Sequence[Mapping[str, Any]], key: str, colour: str, line: Any) -> None:
    known = [(finite(point["epoch"]), finite(point.get(key))) for point in points]
    known = [(epoch, value) for epoch, value in known if value is not None]
    if known:
        epochs, values = zip(*known, strict=True)
        marker = "o" if len(known) == 1 else None
        axis.plot(epochs, values, color=colour, lw=1.6, ls=line, marker=marker, ms=4)


def _highest(curves: Sequence[tuple[ModelView, Sequence[Mapping[str, Any]]]], keys: Sequence[str]) -> float:
    values = [finite(point.get(key)) for _, points in curves for point in points for key in keys]
    return max([value for value in values if value is not None], default=1.0)


def _whole_ticks(axis: Any, last: float) -> None:
    """At most eight ticks, on whole numbers."""
    step = max(1, -(-int(last) // 8))
    ticks = list(range(step, int(last) + 1, step)) or [0, 1]
    axis.set_xticks(ticks, [str(tick) for tick in ticks])


def _mark_best(
    axis: Any, run: RunView, task: TaskView, model: ModelView, points: Sequence[Mapping[str, Any]], colour: str
) -> None:
    best = finite((run.curve(task.name, model.name) or {}).get("best_epoch"))
    near = [point for point in points if finite(point["epoch"]) == best and finite(point.get("score")) is not None]
    if near:
        axis.plot([best], [finite(near[0]["score"])], "o", ms=8, mfc="none", mec=colour, mew=1.5, zorder=5)


def _spoken(model: ModelView, points: Sequence[Mapping[str, Any]]) -> str:
    scores = [value for point in points if (value := finite(point.get("score"))) is not None]
    last = f", best score {max(scores):.2f}" if scores else ""
    return f"{model.name}: {len(points)} evaluations{last}"


def draw_weights(run: RunView, task: TaskView) -> Drawing | None:
    """Class weights of every model with adaptive balancing, by step of training."""
    found = [(model, moved) for model in task.ranked() if (moved := trajectory_of(run, task, model))]
    if not found or len(task.labels) > len(style.CLASS_COLOURS):
        return None
    shown = found[:_MOST_PANELS]
    columns = min(len(shown), _COLUMNS)
    rows = -(-len(shown) // columns)
    figure = style.new_figure(0.9 + 2.1 * rows)
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    for axis, (model, moved) in zip(axes, shown, strict=False):
        _draw_moves(axis, task, moved)
        axis.set_title(tick_name(model.name, 26 if columns > 2 else 40), pad=6)
    for axis in axes[len(shown) :]:
        axis.set_visible(False)
    _legend(figure, [(label, style.CLASS_COLOURS[number]) for number, label in enumerate(task.labels)])
    spoken = "; ".join(
        f"{model.name} {', '.join(_final(moved, label) for label in task.labels)}" for model, moved in shown
    )
    more = f" {len(found) - len(shown)} more models are not drawn." if len(found) > len(shown) else ""
    return Drawing(
        figure,
        "Adaptive class weights",
        "Weight of each class in the loss, by step. A class gains weight when its own figure (recall, precision, "
        "F1 or an error rate) has missed its target at several evaluations in a row; every change and its cause "
        f"are in the run's folder.{more}",
        f"Step lines of class weights. At the end: {spoken}.",
    )


def _final(moved: Mapping[str, Any], label: str) -> str:
    return f"{label} {words.number((moved.get('final_alpha') or {}).get(label), 2)}"


def _draw_moves(axis: Any, task: TaskView, moved: Mapping[str, Any]) -> None:
    style.clean_axis(axis, "y")
    steps = [finite(change.get("step")) or 0 for change in moved["changes"]]
    last = max([*steps, finite(moved.get("evaluations")) or 0, 1])
    highest = 1.0
    for number, label in enumerate(task.labels):
        start = finite((moved.get("initial") or {}).get(label))
        if start is None:
            continue
        places, values = [0.0], [start]
        for change in moved["changes"]:
            if change.get("class") == label and finite(change.get("to")) is not None:
                places.append(finite(change.get("step")) or 0)
                values.append(finite(change["to"]) or 0)
        places.append(last * 1.06)
        values.append(values[-1])
        highest = max(highest, *values)
        axis.step(places, values, where="post", color=style.CLASS_COLOURS[number], lw=max(3.4 - number, 1.4))
    axis.set_xlim(0, last * 1.06)
    ticks = [0, round(last / 2), round(last)] if last >= 2 else [0, round(last)]
    axis.set_xticks(ticks, [str(tick) for tick in ticks])
    axis.set_ylim(0, highest * 1.12)
    levels = [0.5 * number for number in range(int(highest * 2) + 1)]
    axis.set_yticks(levels, [f"{level:.1f}" for level in levels])
    axis.set_xlabel("step")


def _legend(figure: Any, entries: Sequence[tuple[str, str]]) -> None:
    from matplotlib.lines import Line2D

    handles = [Line2D([], [], color=colour, lw=2.2) for _, colour in entries]
    figure.legend(
        handles,
        [name for name, _ in entries],
        loc="outside upper left",
        ncols=min(len(entries), 3),
        handlelength=1.4,
    )
