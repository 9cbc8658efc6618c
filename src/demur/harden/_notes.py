"""What whoever reads a breaker's figures should know beside them, each a sentence."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from demur.harden._config import HardenConfig
    from demur.harden._data import HardenRow, HardenRows
    from demur.harden._validate import Validation

WANTED_COSINE = 0.3
"""Above this a breaker has not turned the states of a layer."""


def count_left_out(read: HardenRows, used: HardenRows) -> dict[str, int]:
    """Rows that were read and are of no use: for what another source holds out, and for what they hold.

    Parameters
    ----------
    read
        All rows.
    used
        Those of which something counts.
    """
    return {"held_out": read.left_out, "unusable": sum(1 for _ in _each(read)) - sum(1 for _ in _each(used))}


def note_rows(config: HardenConfig, left_out: dict[str, int], is_cut: bool) -> list[str]:
    """What became of rows that one would not see in the figures.

    Parameters
    ----------
    config
        Names the settings as they were.
    left_out
        See :func:`count_left_out`.
    is_cut
        Whether the model reads fewer tokens than a row has.
    """
    found = []
    if left_out["held_out"]:
        found.append(
            f"{left_out['held_out']} rows with prompts that another source holds out were neither trained on nor "
            "measured on"
        )
    if left_out["unusable"]:
        found.append(
            f"{left_out['unusable']} rows were left out: their answers begin beyond the first "
            f"{config.data.max_tokens} tokens (raise data.max_tokens), or are retained word for word"
        )
    if is_cut:
        found.append("rows were cut where the model reads no more, which is before data.max_tokens")
    return found


def note_answers(rows: HardenRows) -> list[str]:
    """Held-out rows whose answer is broken in training under another request: of them no figure is of unseen text.

    Parameters
    ----------
    rows
        Those of a run.
    """
    trained = {_answer(row) for row in rows.breakers}
    seen = sum(_answer(row) in trained for row in rows.breakers_valid)
    if not seen:
        return []
    return [
        f"{seen} of the {len(rows.breakers_valid)} held-out rows to break have a response that is trained on "
        "under another request: their cosine does not show what becomes of other responses; give rows with "
        "responses of their own"
    ]


def note_cosine(config: HardenConfig, validations: Sequence[Validation]) -> list[str]:
    """Where the states of held-out rows have not turned, and what to change.

    Parameters
    ----------
    config
        Names the settings as they were.
    validations
        Of the run; the last counts.
    """
    if not validations or config.objective != "rerouting":
        return []
    straight = {layer: one for layer, one in validations[-1].cosine.items() if one > WANTED_COSINE}
    if not straight:
        return []
    shown = ", ".join(f"{one:.3f} at layer {layer}" for layer, one in straight.items())
    return [
        f"the breaker has not turned the held-out states: cosine {shown}, and below {WANTED_COSINE} is wanted. "
        f"Raise learning_rate first (it was {config.learning_rate:g}; a small model may want 5 to 10 times the "
        f"default), and if that does not do, lower retain_weight (it was {config.retain_weight:g}; try 0.03 to "
        "0.1), with no fewer steps"
    ]


def _answer(row: HardenRow) -> str:
    return " ".join(row.conversation.messages[-1].content.casefold().split())


def _each(rows: HardenRows) -> Iterator[HardenRow]:
    for part in (rows.breakers, *rows.retain, rows.breakers_valid, rows.retain_valid):
        yield from part
