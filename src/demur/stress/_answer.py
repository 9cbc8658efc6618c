"""The responses of a model under attack: written, measured, and kept as Parquet."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Any

import polars as pl

from demur.llm import GenerationConfig, Target
from demur.paths import hash_value, replace_when_done, write_json
from demur.stress._coherence import ReplyMeasures, measure_replies
from demur.stress._data import StressPrompt
from demur.stress._protocol import Stage

Progress = Callable[[int, int], None]
_DRAWN = "-drawn"
_SCHEMA = {
    "prompt": pl.String,
    "kind": pl.String,
    "try": pl.Int32,
    "prefill": pl.String,
    "response": pl.String,
    "is_finished": pl.Boolean,
    "tokens": pl.Int32,
    "repetition": pl.Float64,
    "entropy": pl.Float64,
    "nll": pl.Float64,
}


@dataclass(frozen=True)
class Replies:
    """Responses to all prompts, one try after the other."""

    frame: pl.DataFrame

    @property
    def texts(self) -> list[str]:
        """What a reader sees: the answer with the beginning that was put in the model's mouth."""
        return (self.frame["prefill"] + self.frame["response"]).to_list()

    @property
    def measures(self) -> list[ReplyMeasures]:
        """Of each response."""
        rows = self.frame.select("tokens", "repetition", "entropy", "nll").iter_rows()
        return [ReplyMeasures(*row) for row in rows]


def answer_prompts(
    stage: Stage,
    prompts: Sequence[StressPrompt],
    generation: GenerationConfig,
    reference: Target | None,
    progress: Progress | None = None,
) -> Replies:
    """Ask a model under attack.

    Parameters
    ----------
    stage
        The model, how it is asked, and how often.
    prompts
        What it is asked.
    generation
        How answers are written, unless the stage says otherwise.
    reference
        The untampered base, to read the answers; None leaves that out.
    progress
        Told of answers done, and of all.
    """
    config = stage.generation or generation
    asked = stage.conversations([one.conversation for one in prompts])
    parts = []
    for number in range(stage.tries):
        own = config.model_copy(update={"seed": (config.seed + 104_729 * number) % 2**31})

        def tell(done: int, _: int, number: int = number) -> None:
            if progress is not None:
                progress(number * len(asked) + done, stage.tries * len(asked))

        replies = stage.target.generate(asked, own, tell)
        measures = measure_replies([one.text for one in replies], [one.token_ids for one in replies], reference)
        parts += [
            (*(prompt.id, prompt.kind, number, talk.prefill, reply.text, reply.is_finished), *astuple(found))
            for prompt, talk, reply, found in zip(prompts, asked, replies, measures, strict=True)
        ]
    return Replies(pl.DataFrame(parts, schema=_SCHEMA, orient="row"))


def stage_name(step: int, label: str) -> str:
    """Name of a stage's files; labels that differ have names that differ, even where case does not count."""
    clean = re.sub(r"[^a-z0-9.=+-]+", "-", label)
    if clean != label:
        clean = f"{clean[:80]}-{hash_value(label)[:8]}"
    return f"{step:06d}{'-' if clean else ''}{clean}"


class ReplyFolder:
    """Responses of a cell, stage by stage.

    Parameters
    ----------
    folder
        Made where it is not there.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def read(self, name: str) -> tuple[Replies, dict[str, Any]] | None:
        """Responses and record of a stage, where all of it is whole."""
        try:
            record = json.loads((self.folder / f"{name}.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None
        found = self._read(name)
        is_whole = found is not None and not (record.get("drawn") and self.read_drawn(name) is None)
        return (found, record) if found is not None and is_whole else None

    def read_drawn(self, name: str) -> Replies | None:
        """Responses that were drawn beside the judged ones of a stage."""
        return self._read(f"{name}{_DRAWN}")

    def _read(self, stem: str) -> Replies | None:
        try:
            return Replies(pl.read_parquet(self.folder / f"{stem}.parquet"))
        except (OSError, pl.exceptions.PolarsError):
            return None

    def write(self, name: str, replies: Replies, record: dict[str, Any], drawn: Replies | None = None) -> None:
        """Keep a stage, with what was drawn beside it; the record comes last.

        Raises
        ------
        StorageError
            The disk is full or not writable.
        """
        for stem, one in ((name, replies), (f"{name}{_DRAWN}", drawn)):
            if one is not None:
                with replace_when_done(self.folder / f"{stem}.parquet") as part:
                    one.frame.write_parquet(part)
        write_json(self.folder / f"{name}.json", record | ({"drawn": True} if drawn is not None else {}))

    def done(self) -> frozenset[tuple[int, str]]:
        """Step and label of every stage that is kept."""
        found = set()
        for path in self.folder.glob("*.json"):
            kept = self.read(path.stem)
            if kept is not None and "step" in kept[1]:
                found.add((int(kept[1]["step"]), str(kept[1]["label"])))
        return frozenset(found)
