"""Fitting the members: on all rows, and on folds of them, so that a row is judged by who did not see its group."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from demur.data import Records, Split, SplitConfig, cross_validate, split_records
from demur.errors import DataError, DemurError, MissingDependencyError, TrainingError
from demur.models._base import BaseClassifier
from demur.models.ensemble._config import EnsembleConfig, resolve_member
from demur.paths import hash_value, replace_when_done
from demur.tasks import Task

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
INNER_VALID = 0.12
"""Share of a member's training groups that it watches, where it stops early."""


@dataclass(frozen=True)
class OutOfFold:
    """Rows judged by members that did not learn from their groups."""

    y: IntArray
    probabilities: FloatArray
    """``(m, n, k)``."""
    groups: IntArray


def new_members(config: EnsembleConfig, task: Task, seed: int) -> list[BaseClassifier[Any]]:
    """The members, not yet fitted."""
    return [family(task, settings, seed) for family, settings in map(resolve_member, config.members)]


@dataclass(frozen=True)
class Trainer:
    """What fitting members takes: who they are, and what the ensemble was given beside its rows."""

    config: EnsembleConfig
    task: Task
    seed: int
    checkpoints: Path | None
    companions: dict[str, tuple[Task, Records]]

    def fit_members(self, train: Records, valid: Records | None) -> list[BaseClassifier[Any]]:
        """Every member, fitted on all rows."""
        members = new_members(self.config, self.task, self.seed)
        for number, member in enumerate(members):
            self._fit(number, member, (train, valid), "whole")
        return members

    def fit_folds(self, train: Records) -> OutOfFold:
        """Every row's probabilities by members fitted on the other folds; whole groups are held out.

        Rows of a fold whose other folds hold a single class are left out.

        Raises
        ------
        TrainingError
            There is one group, or the folds leave one class to learn from.
        """
        splits = self._split(train)
        kept = [split for split in splits if len(np.unique(train.take(split.train).targets(self.task))) > 1]
        rows = np.concatenate([split.test for split in kept]) if kept else np.empty(0, dtype=np.int64)
        if not kept or len(np.unique(train.take(rows).targets(self.task))) < 2:
            raise TrainingError(
                f"'{self.config.method}' learns from members that held rows out, and the folds of these "
                f"{len(train)} rows leave one class to learn from; give more groups of each, or use method: soft"
            )
        key = self._key(train)
        parts = [self._judge_fold(train, split, f"{key}-{number}") for number, split in enumerate(kept)]
        order = np.argsort(rows, kind="stable")
        held = train.take(rows[order])
        return OutOfFold(held.targets(self.task), np.concatenate(parts, axis=1)[:, order], held.groups())

    def _split(self, train: Records) -> list[Split]:
        folds = min(self.config.folds, len(np.unique(train.groups())))
        if folds < 2:
            raise TrainingError(
                f"'{self.config.method}' needs training rows of at least two groups, and all {len(train)} are "
                "of one; give rows with other prompts, or use method: soft"
            )
        return cross_validate(train, self.task, folds, self.seed)

    def _key(self, train: Records) -> str:
        if self.checkpoints is None:
            return ""
        others = {name: rows.content_hash() for name, (_, rows) in self.companions.items()}
        settings = self.config.model_dump(mode="json")
        return hash_value([settings, self.seed, train.content_hash(), others])[:16]

    def _judge_fold(self, train: Records, split: Split, name: str) -> FloatArray:
        """Probabilities ``(m, t, k)`` of a fold's rows, of those kept from a killed fit where there are any."""
        held = train.take(split.test)
        parts = []
        for number in range(len(self.config.members)):
            kept = self.checkpoints / f"fold-{name}-{number}.npy" if self.checkpoints else None
            if kept is not None and kept.is_file():
                parts.append(np.load(kept, allow_pickle=False))
                continue
            member = new_members(self.config, self.task, self.seed)[number]
            self._fit(number, member, (train.take(split.train), None), f"fold-{name}", held)
            parts.append(member.predict_proba(held))
            if kept is not None:
                with replace_when_done(kept) as part, part.open("wb") as handle:
                    np.save(handle, parts[-1], allow_pickle=False)
        return np.stack(parts)

    def _fit(
        self,
        number: int,
        member: BaseClassifier[Any],
        rows: tuple[Records, Records | None],
        name: str,
        held: Records | None = None,
    ) -> None:
        if member.wants_companions:
            member.companions = _without_groups(self.companions, held)
        if self.checkpoints is not None:
            member.checkpoint_folder = self.checkpoints / f"{name}-{number}"
        train, valid = rows
        if member.watches_valid and valid is None:
            train, valid = split_inner(train, self.task, self.seed)
        try:
            member.fit(train, valid if member.watches_valid else None)
        except MissingDependencyError:
            raise
        except DemurError as error:
            raise TrainingError(f"member {number + 1} ('{self.config.names[number]}'): {error}") from error


def split_inner(train: Records, task: Task, seed: int) -> tuple[Records, Records | None]:
    """Set a grouped part aside for a member that stops early; none where groups or classes do not allow it."""
    try:
        inner = split_records(train, task, SplitConfig(test=INNER_VALID, valid=0, seed=seed))
    except DataError:
        return train, None
    learned = train.take(inner.train)
    if len(np.unique(learned.targets(task))) < 2:
        return train, None
    return learned, train.take(inner.test)


def _without_groups(
    companions: dict[str, tuple[Task, Records]], held: Records | None
) -> dict[str, tuple[Task, Records]]:
    """The rows of other tasks less those whose group or prompt is held out."""
    if held is None or not companions:
        return companions
    groups = set(held.column("group")) - {None}
    prompts = set(held.texts("prompt")) - {""}
    kept = {}
    for name, (task, rows) in companions.items():
        clean = [
            at
            for at, (group, prompt) in enumerate(zip(rows.column("group"), rows.texts("prompt"), strict=True))
            if group not in groups and prompt not in prompts
        ]
        if clean:
            kept[name] = (task, rows.take(clean))
    return kept
