"""The tests between models on the terminal: a table for each task and protocol, the winner's pairs first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from demur.report import _words as words
from demur.report._compare import facing

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

_FEW_PAIRS = 10
"""So many pairs are all printed, unasked."""


def print_comparison(found: Mapping[str, Any], console: Console, is_whole: bool = False) -> None:
    """Print what :func:`demur.analysis.compare_run` or ``compare_runs`` found.

    Parameters
    ----------
    found
        Its result.
    console
        Where to print.
    is_whole
        Print every pair, not only the winner's where there are many.
    """
    level = 100 * float(found["settings"]["level"])
    for side, folder in (found.get("runs") or {}).items():
        console.print(f"{side} = {folder}", style="dim", highlight=False, soft_wrap=True)
    for name, task in found["tasks"].items():
        for protocol, statistics in task["protocols"].items():
            pairs = _order(statistics["pairs"], task.get("winner"))
            shown = pairs if is_whole or len(pairs) <= _FEW_PAIRS else _of(pairs, task.get("winner"))
            console.print()
            console.print(_table(name, protocol, shown, found["settings"]["metrics"]))
            for line in _notes(statistics, len(pairs) - len(shown)):
                console.print(f"  {line}", style="dim", highlight=False)
    console.print(
        f"\np: chance of a difference as large if whole groups of answers were swapped between equal models, "
        f"adjusted (Holm) over all pairs of a table. Ranges: {level:g} % bootstrap over groups; McNemar's test "
        "counts groups, too.",
        style="dim",
        highlight=False,
    )


def _of(pairs: Sequence[Mapping[str, Any]], winner: str | None) -> list[Mapping[str, Any]]:
    return [pair for pair in pairs if pair["a"] == winner] or list(pairs)


def _order(pairs: Sequence[Mapping[str, Any]], winner: str | None) -> list[Mapping[str, Any]]:
    return sorted((facing(pair, winner) for pair in pairs), key=lambda pair: pair["a"] != winner)


def _table(task: str, protocol: str, pairs: Sequence[Mapping[str, Any]], metrics: Sequence[str]) -> Table:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    sizes = {(pair["n"], pair["groups"]) for pair in pairs}
    size = f", n = {words.count(pairs[0]['n'])} rows in {words.count(pairs[0]['groups'])} groups" if pairs else ""
    table = Table(
        title=Text(f"{words.task_title(task)} · {words.protocol_name(protocol)}{size if len(sizes) == 1 else ''}"),
        title_justify="left",
        title_style="bold",
        box=box.SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
        pad_edge=False,
        show_edge=False,
    )
    table.add_column("model", overflow="fold")
    table.add_column("less model", overflow="fold")
    for metric in metrics:
        table.add_column(words.metric_name(metric).replace(" ", "\n"), justify="right", no_wrap=True)
        table.add_column("p", justify="right", no_wrap=True)
    table.add_column("McNemar\np", justify="right", no_wrap=True)
    has_folds = any(_fold_p(pair, metrics[0]) is not None for pair in pairs)
    if has_folds:
        table.add_column("folds\np (t)", justify="right", no_wrap=True)
    for pair in pairs:
        cells = [Text(pair["a"]), Text(pair["b"])]
        for metric in metrics:
            one = pair["metrics"][metric]
            is_shown = one["p_holm"] is not None and one["p_holm"] <= 0.05
            cells += [Text(_difference(one)), Text(words.chance(one["p_holm"]), "bold" if is_shown else "")]
        cells.append(Text(words.chance(pair["clustered_p_holm"])))
        if has_folds:
            cells.append(Text(words.chance(_fold_p(pair, metrics[0]))))
        table.add_row(*cells)
    return table


def _difference(one: Mapping[str, Any]) -> str:
    shown = words.signed(one["difference"])
    if one["low"] is None or one["high"] is None:
        return shown
    return f"{shown}\n{words.signed(one['low'], 2)} to {words.signed(one['high'], 2)}"


def _fold_p(pair: Mapping[str, Any], metric: str) -> float | None:
    value = pair["metrics"][metric].get("t_p_holm")
    return None if value is None else float(value)


def _notes(statistics: Mapping[str, Any], left: int) -> list[str]:
    said = [f"and {left} pairs without the winner: --all"] if left else []
    for metric, found in (statistics.get("detectable") or {}).items():
        said.append(
            f"{words.metric_name(metric)}: differences below about {found['median']:.3f} would mostly go unseen; "
            f"seeing 0.02 would take about {words.count(found['rows_for_small'])} rows"
        )
    return said
