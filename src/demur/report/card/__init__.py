"""The robustness card: what a defence is worth, on one page, as HTML, PDF and JSON."""

from typing import TYPE_CHECKING

from demur._lazy import attach

if TYPE_CHECKING:
    from demur.report.card._build import make_card as make_card
    from demur.report.card._card import AttackLine as AttackLine
    from demur.report.card._card import BenignLine as BenignLine
    from demur.report.card._card import RobustnessCard as RobustnessCard
    from demur.report.card._write import write_card as write_card

__getattr__, __dir__, __all__ = attach(
    __name__,
    {
        "AttackLine": "_card",
        "BenignLine": "_card",
        "RobustnessCard": "_card",
        "make_card": "_build",
        "write_card": "_write",
    },
)
