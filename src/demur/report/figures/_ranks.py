"""Which models the data tells apart: mean ranks with their critical difference, and every pair's difference."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from demur.report import _words as words
from demur.report._compare import METRICS, facing
from demur.report._run import RunView
from demur.report._statistics import rank_of
from demur.report._views import TaskView
from demur.report.figures import _style as style
from demur.report.figures._drawing import Drawing, cohort_sentence, wrapped_name

_ROW_HEIGHT, _MARGIN = 0.32, 1.3
_SPOKEN = 8
_MOST_NUMBERS = 14
"""With more models, the cells of the pairs hold colours alone."""
_PARTS = {"cv": "folds", "leave_one_model_out": "answering models", "leave_one_source_out": "sources"}


def draw_ranks(run: RunView, task: TaskView) -> Drawing | None:
    """Mean rank of every model over folds or held-out values, with the runs of models no rank tells apart."""
    found = rank_of(run, task)
    if found is None or not task.usable:
        return None
    protocol, standing = found
    ranks = standing["ranks"]
    names, means = list(ranks["models"]), [float(rank) for rank in ranks["mean_ranks"]]
    k, difference = len(names), float(ranks["critical_difference"])
    figure = style.new_figure(_MARGIN + _ROW_HEIGHT * (k + 1))
    axis = figure.subplots()
    style.clean_axis(axis, "x")
    axis.spines["left"].set_visible(False)
    for row, (name, mean) in enumerate(zip(names, means, strict=True)):
        colour = _colour(task, name)
        axis.plot([1, mean], [row, row], color=style.GRID, lw=1.2, zorder=1)
        axis.plot([mean], [row], "o", color=colour, ms=7, mec="white", mew=0.8, zorder=4)
        axis.annotate(
            f"{mean:.2f}",
            (mean, row),
            xytext=(8, 0),
            textcoords="offset points",
            va="center",
            size=7.5,
            color=colour,
        )
    _draw_cliques(axis, names, ranks["cliques"], k)
    _draw_ruler(axis, difference, k)
    axis.set_xlim(0.9, k + 0.6 + 0.12 * k)
    axis.set_xticks(range(1, k + 1))
    axis.set_ylim(k - 0.4, -1.9)
    _name_rows(axis, task, names)
    axis.set_xlabel(f"mean rank in security score over {ranks['blocks']} {_PARTS[protocol]} (1 is best)")
    kind = "exact, since all parts rank alike" if ranks["f_statistic"] is None else "Iman and Davenport's F"
    spoken = "; ".join(f"{name} {mean:.2f}" for name, mean in list(zip(names, means, strict=True))[:_SPOKEN])
    return Drawing(
        figure,
        "Ranks and their critical difference",
        f"{words.protocol_name(protocol).capitalize()}, {ranks['blocks']} {_PARTS[protocol]}. Models joined by a "
        f"bar on the right have mean ranks closer than Nemenyi's critical difference ({difference:.2f}), so ranks "
        f"do not tell them apart; Friedman's test ({kind}) gives p {_with_sign(ranks['f_p'])}. "
        f"{_sentence(standing['caveat'])}",
        f"Dot plot of mean ranks, best first, critical difference {difference:.2f}: {spoken}.",
    )


def _with_sign(p: float) -> str:
    shown = words.chance(p)
    return shown.replace("<", "< ") if shown.startswith("<") else f"= {shown}"


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:].rstrip('.')}."


def _draw_cliques(axis: Any, names: Sequence[str], cliques: Sequence[Sequence[str]], k: int) -> None:
    """A bar beside each run of models, each in a lane of its own."""
    step = 0.12 * k / max(len(cliques), 1)
    for lane, clique in enumerate(cliques):
        rows = [names.index(name) for name in clique]
        place = k + 0.6 + step * (lane + 0.35)
        axis.plot(
            [place, place],
            [min(rows) - 0.22, max(rows) + 0.22],
            color=style.INK,
            lw=3.2,
            solid_capstyle="butt",
            zorder=3,
        )


def _draw_ruler(axis: Any, difference: float, k: int) -> None:
    """The critical difference as a length, above the first row; cut where it is wider than all ranks."""
    end = min(1 + difference, k + 0.4)
    axis.plot([1, end], [-1.0, -1.0], color=style.MUTED, lw=1.4)
    for place in (1, end) if end == 1 + difference else (1,):
        axis.plot([place, place], [-1.15, -0.85], color=style.MUTED, lw=1.4)
    axis.text(1, -1.3, f"critical difference {difference:.2f}", size=7.5, color=style.MUTED, va="bottom")


def draw_pairs(run: RunView, task: TaskView) -> Drawing | None:
    """Security score of every model less that of every other, coloured where the tests say it is real."""
    protocol = task.main_protocol or ""
    found = (run.statistics(task).get("protocols") or {}).get(protocol) or {}
    pairs = [pair for pair in found.get("pairs") or () if METRICS[0] in pair["metrics"]]
    have = {name for pair in pairs for name in (pair["a"], pair["b"])}
    names = [model.name for model in task.ranked() if model.name in have]
    if len(names) < 2:
        return None
    alpha = 1 - run.level
    cells = {
        (row, column): one
        for row, first in enumerate(names)
        for column, second in enumerate(names)
        if row != column and (one := _figures_of(pairs, first, second))
    }
    k = len(names)
    figure = style.new_figure(_MARGIN + 0.34 * k)
    axis = figure.subplots()
    axis.grid(False)
    axis.tick_params(length=0)
    for spine in axis.spines.values():
        spine.set_visible(False)
    for (row, column), one in cells.items():
        _draw_cell(axis, (row, column), one, alpha, k <= _MOST_NUMBERS)
    axis.set_xlim(-0.5, k - 0.5)
    axis.set_ylim(k - 0.5, -0.5)
    axis.xaxis.tick_top()
    axis.set_xticks(range(k), [str(number + 1) for number in range(k)])
    _name_rows(axis, task, names, is_numbered=True)
    real = sum(1 for (row, column), one in cells.items() if row < column and _is_real(one, alpha))
    total = sum(1 for row, column in cells if row < column)
    return Drawing(
        figure,
        "Which differences are real",
        f"{cohort_sentence(task)} Each cell is the security score of its row's model less that of the column's, "
        f"models by rank. Blue is a real lead and orange a real deficit: the chance of it between equal models, "
        f"adjusted over all {total} pairs (Holm), is below {alpha:g}. Grey is not shown to differ from zero.",
        f"Table of differences between {k} models: {real} of {total} pairs differ after correction.",
    )


def _figures_of(pairs: Sequence[Mapping[str, Any]], first: str, second: str) -> Mapping[str, Any] | None:
    for pair in pairs:
        if {pair["a"], pair["b"]} == {first, second}:
            one: Mapping[str, Any] = facing(pair, first)["metrics"][METRICS[0]]
            return one if one.get("difference") is not None else None
    return None


def _is_real(one: Mapping[str, Any], alpha: float) -> bool:
    return one.get("p_holm") is not None and float(one["p_holm"]) <= alpha


def _draw_cell(axis: Any, place: tuple[int, int], one: Mapping[str, Any], alpha: float, has_number: bool) -> None:
    from matplotlib.patches import Rectangle

    row, column = place
    value = float(one["difference"])
    is_real = _is_real(one, alpha)
    strength = min(1.0, 0.25 + abs(value) * 1.5) if is_real else 1.0
    colour = (style.BLUE if value > 0 else style.ORANGE) if is_real else style.STRIPE
    axis.add_patch(
        Rectangle(
            (column - 0.47, row - 0.45), 0.94, 0.9, color=colour, alpha=strength * 0.8 if is_real else 1.0, lw=0
        )
    )
    if has_number:
        axis.text(
            column,
            row,
            words.signed(value, 2),
            ha="center",
            va="center",
            size=6.8,
            color=style.INK if is_real else style.MUTED,
            weight="bold" if is_real else "normal",
        )


def _name_rows(axis: Any, task: TaskView, names: Sequence[str], is_numbered: bool = False) -> None:
    winner = task.raw.get("winner")
    shown = []
    for number, name in enumerate(names):
        lead = f"{number + 1}  " if is_numbered else ""
        shown.append(f"{lead}{'★ ' if name == winner else ''}{wrapped_name(name)}")
    axis.set_yticks(range(len(names)), shown, linespacing=1.08)
    for label, name in zip(axis.get_yticklabels(), names, strict=True):
        label.set_color(_colour(task, name) if name == winner else style.INK)
        label.set_weight("bold" if name == winner else "normal")


def _colour(task: TaskView, name: str) -> str:
    rules = task.rules
    if name == task.raw.get("winner"):
        return style.WINNER_COLOUR
    return style.RULES_COLOUR if rules is not None and name == rules.name else style.BLUE
