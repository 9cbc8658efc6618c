"""Writes a card as ``card.json``, ``card.html`` and ``card.pdf``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from demur.paths import replace_when_done, write_json, write_text
from demur.report import _words as words
from demur.report._page import page_environment
from demur.report._sections import Column, Row, Table
from demur.report.card._card import AttackLine, RobustnessCard
from demur.report.card._pdf import draw_pdf


@dataclass(frozen=True)
class CardFiles:
    """Where a card lies."""

    json: Path
    html: Path
    pdf: Path


def write_card(card: RobustnessCard, folder: Path | str) -> CardFiles:
    """Write a card in all its forms.

    Parameters
    ----------
    card
        What it says.
    folder
        Where it goes; made where it is not there.

    Raises
    ------
    MissingDependencyError
        jinja2, matplotlib or reportlab is not installed; install ``demur[report]``.
    StorageError
        The disk is full or not writable.
    """
    root = Path(folder)
    files = CardFiles(root / "card.json", root / "card.html", root / "card.pdf")
    template = page_environment().get_template("card.html.j2")
    write_json(files.json, card.to_json())
    write_text(
        files.html,
        template.render(
            card=card,
            missing=words.MISSING,
            attacks=attack_table(card, card.attacks, "Attacks, worst case first"),
            controls=attack_table(card, card.controls, "Controls"),
            benign=benign_table(card),
        ),
    )
    with replace_when_done(files.pdf) as part:
        draw_pdf(card, part)
    return files


def attack_table(card: RobustnessCard, lines: tuple[AttackLine, ...], what: str) -> Table | None:
    """Attacks as rows of the page; None where there is none.

    Parameters
    ----------
    card
        For the level of its intervals.
    lines
        The rows.
    what
        The beginning of the caption.
    """
    if not lines:
        return None
    columns = [
        Column("Complied with", "base, its worst"),
        Column("Complied with", "hardened, its worst"),
        Column("Complied with", "base, there"),
        Column("Difference", "there, paired"),
        Column("Refused", "hardened, there"),
    ]
    rows = [
        Row(one.name, [one.base, one.hardened, one.base_there, one.difference, one.refused], one.note)
        for one in lines
    ]
    caption = (
        f"{what}: shares of harmful prompts at each model's worst setting and step, {card.level} intervals, n "
        "responses; 'there' is the hardened model's worst, where the difference is taken on the same seeds and "
        "prompts"
    )
    return Table(caption, columns, rows)


def benign_table(card: RobustnessCard) -> Table | None:
    """The benign side as rows of the page; None where nothing was measured."""
    if not card.benign:
        return None
    rows = [Row(one.name, [one.base, one.hardened], one.note) for one in card.benign]
    caption = f"What the defence costs where nobody attacks, {card.level} intervals"
    return Table(caption, [Column("Base"), Column("Hardened")], rows)
