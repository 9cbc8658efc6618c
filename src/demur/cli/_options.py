"""What several verbs parse in the same way."""

from __future__ import annotations

import re
from collections.abc import Sequence

import typer

AUTO = "auto"
MOST_FOLDS = 50


def fill_folds(arguments: Sequence[str]) -> list[str]:
    """``--cv`` that no number follows as ``--cv=auto``: the shells' way of an option with a default."""
    filled = list(arguments)
    for place, argument in enumerate(filled):
        follows = filled[place + 1] if place + 1 < len(filled) else ""
        if argument == "--cv" and not re.fullmatch(rf"-?\d+|{AUTO}", follows):
            filled[place] = f"--cv={AUTO}"
    return filled


def parse_folds(text: str | None) -> int | str | None:
    """``"10"`` as 10; ``auto`` stays.

    Raises
    ------
    typer.BadParameter
        It is no number of folds.
    """
    if text is None or text == AUTO:
        return text
    if not text.isdecimal() or int(text) > MOST_FOLDS:
        raise typer.BadParameter(f"--cv takes a number of folds from 0 to {MOST_FOLDS}, or nothing, not '{text}'")
    return int(text)


def parse_seeds(text: str | None) -> list[int] | None:
    """``"1,2,3"`` as ``[1, 2, 3]``.

    Raises
    ------
    typer.BadParameter
        One of them is no whole number.
    """
    if text is None:
        return None
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isdecimal() for part in parts):
        raise typer.BadParameter(f"--seeds takes whole numbers and commas, such as 1,2,3, not '{text}'")
    return [int(part) for part in parts]


def parse_columns(pairs: list[str] | None) -> dict[str, str]:
    """``["prompt=question"]`` as ``{"prompt": "question"}``.

    Raises
    ------
    ConfigError
        A pair has no ``=``.
    """
    from demur.errors import ConfigError

    columns = {}
    for pair in pairs or []:
        ours, found, theirs = pair.partition("=")
        if not found or not ours or not theirs:
            raise ConfigError(f"--column takes ours=theirs, such as prompt=question, not '{pair}'")
        columns[ours] = theirs
    return columns
