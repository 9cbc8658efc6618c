"""The league on the terminal: one table a task, the rules first, and a sentence that names the winner."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from demur.report import _words as words
from demur.report._story import left_out
from demur.report._views import ModelView, TaskView, has_interval

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

_NARROW = 96
"""Below this width the interval of the score goes onto a line of its own under the value."""
_FIGURE_WIDTH = 60
"""Columns that all but the model's name take in the narrow layout; 12 more in the wide one."""


def print_league(results: Mapping[str, Any], console: Console) -> None:
    """Print one table for each task of ``experiment_results.json``, and why its winner won.

    Parameters
    ----------
    results
        The contents of ``experiment_results.json``.
    console
        Where to print; its width decides the layout, 80 columns are enough.
    """
    for name, raw in (results.get("tasks") or {}).items():
        task = TaskView(str(name), raw)
        console.print()
        console.print(_table(task, console.width))
        for line in _notes(task):
            console.print(line)


def _table(task: TaskView, width: int) -> Table:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(
        title=Text(f"{words.task_title(task.name)} · {_cohort(task)}"),
        title_justify="left",
        title_style="bold",
        box=box.SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
        pad_edge=False,
        show_edge=False,
    )
    table.add_column("model", no_wrap=True)
    for header in ("security\nscore", "macro\nF1", "F1\nblind", "false\nalarm", "missed\nthreat", "ms per\nrow"):
        table.add_column(header, justify="right", no_wrap=True)
    table.add_column("status", no_wrap=True)
    is_narrow = width < _NARROW
    room = max(width - _FIGURE_WIDTH - (0 if is_narrow else 12), 12)
    for model in task.models:
        table.add_row(*_cells(task, model, is_narrow, room), style="" if model.is_ok else "dim")
    return table


def _cells(task: TaskView, model: ModelView, is_narrow: bool, room: int) -> list[Text]:
    from rich.text import Text

    is_winner = task.winner is not None and model.name == task.winner.name
    style = "bold green" if is_winner else ""
    score = model.metric("custom_score")
    shown = words.number(score.value)
    if has_interval(score):
        low, high = words.number(score.low, 2), words.number(score.high, 2)
        shown += f"\n{low}–{high}" if is_narrow else f" [{low}, {high}]"
    figures = [
        shown,
        words.number(model.metric("f1_macro").value),
        words.number(model.metric("f1_macro", "blind").value),
        words.number(model.metric("false_alarm_rate").value, 2),
        words.number(model.metric("missed_threat_rate").value, 2),
        words.measured(model.number("latency_ms_p50")),
    ]
    name = f"{'★' if is_winner else ' '} {words.shorten(model.name, room - 2)}"
    return [Text(name, style), *(Text(figure, style) for figure in figures), Text(_status(model))]


def _status(model: ModelView) -> str:
    if not model.is_ok:
        return model.status
    return "misses" if model.failed_thresholds else "ok"


def _cohort(task: TaskView) -> str:
    """Which rows the table's figures are of."""
    model = next(iter(task.usable), None)
    evaluation = model.evaluations.get(task.main_protocol or "") if model else None
    if evaluation is None:
        return "no model finished"
    return f"{words.protocol_name(task.main_protocol)}, n = {words.count(evaluation.n)}"


def _notes(task: TaskView) -> list[Text]:
    from rich.text import Text

    lines = [Text(_winner_sentence(task), style="bold" if task.winner else "yellow")]
    lines += [
        Text(f"  {text}", style="yellow" if status == "skipped" else "red") for status, text in left_out(task)
    ]
    lines += [
        Text(f"  {model.name} misses: {'; '.join(model.failed_thresholds)}", style="yellow")
        for model in task.models
        if model.is_ok and model.failed_thresholds
    ]
    return lines


def _winner_sentence(task: TaskView) -> str:
    why = words.plain(task.why).rstrip(".")
    winner = task.winner
    if winner is None:
        return f"No winner for {task.name}: {why or 'no model finished'}."
    score = winner.metric("custom_score")
    because = f": {why}" if why else ""
    return (
        f"★ {winner.name} wins {task.name}{because}. On the {words.protocol_name(winner.main_protocol)} it scores "
        f"{words.with_interval(score)} (n = {words.count(score.n)})."
    )
