"""``demur certify``: stress, harden, stress again, and print the robustness card."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from rich.console import Console

    from demur.certify import Certified


def certify(
    config: Annotated[Path, typer.Argument(help="A YAML or JSON file: target, stress, harden.")],
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Run folder (default: runs/NAME).")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the card as JSON and nothing else.")] = False,
) -> None:
    """Stress a model, harden it, stress it again with the same seeds, and write its robustness card.

    Killed or interrupted, the same command goes on where it was.
    """
    import json

    from rich.console import Console

    from demur.certify import certify as run
    from demur.certify import load_certify
    from demur.cli.stress import GridBar

    settings = load_certify(config)
    with GridBar(Console(stderr=True)) as bar:
        found = run(settings, out, bar, lambda step, total: bar.detail(f"hardening, step {step}", step / total))
    if as_json:
        print(json.dumps(found.to_json(), ensure_ascii=False))
    else:
        _print_card(found, Console())


def _print_card(found: Certified, console: Console) -> None:
    from rich.table import Table

    table = Table("attack", "base", "hardened", "difference", "", box=None, header_style="bold")
    for line in (*found.card.attacks, *found.card.controls):
        shown = [_interval(one.value, one.low, one.high) for one in (line.base, line.hardened, line.difference)]
        table.add_row(line.name, *shown, line.verdict if line in found.card.attacks else "")
    console.print("share of harmful prompts complied with, worst case first")
    console.print(table)
    for sentence in found.card.headline:
        console.print(sentence, highlight=False, style="bold")
    for name in ("card.html", "card.pdf", "card.json", "stress/stress.html"):
        console.print(f"  {found.folder / name}", style="dim", highlight=False, soft_wrap=True)


def _interval(value: float | None, low: float | None, high: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:.2f}" if low is None or high is None else f"{value:.2f} [{low:.2f}, {high:.2f}]"
