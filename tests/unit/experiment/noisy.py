"""A family whose score is known in advance, and problems of a search over it.

It knows the labels, and errs on a share of the rows that its settings give: 0 at ``shift`` 0.3, more beside it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar, Literal

import numpy as np
from pydantic import Field

from demur.config import Settings, parse_settings
from demur.data import Records, Split
from demur.experiment import ModelSpec
from demur.experiment._search_trial import Problem, make_folds
from demur.metrics import make_scorer
from demur.models import BaseClassifier
from demur.tasks import REFUSAL


class NoisyConfig(Settings):
    """Where it errs, and how it fails."""

    shift: float = Field(default=0.9, ge=0, le=1)
    width: int = Field(default=1, ge=1)
    outcome: Literal["ok", "nan", "raises", "memory"] = "ok"
    epochs: int = Field(default=3, ge=1)


class Noisy(BaseClassifier[NoisyConfig]):
    """Errs as its settings say; ``seen`` are the ids it was fitted on, ``asked`` those it judged."""

    family: ClassVar[str] = "noisy"
    config_type = NoisyConfig
    search_space: ClassVar = {"shift": {"low": 0.0, "high": 1.0}}

    def _fit(self, train, targets, valid):
        self.seen, self.asked = set(train.texts("id")), set()
        if self.config.outcome == "raises":
            raise ValueError("this setting\n does not work")
        if self.config.outcome == "memory":
            raise MemoryError
        for step in range(1, self.config.epochs + 1) if self.on_progress else ():
            score = 1 - abs(self.config.shift - 0.3)
            last = None if step == 1 else score * (step - 1) / self.config.epochs
            for told in (last, score * step / self.config.epochs):
                self.on_progress(
                    SimpleNamespace(step=step, steps=self.config.epochs, epoch=float(step), score=told)
                )

    def _predict(self, records):
        self.asked |= set(records.texts("id"))
        targets = records.targets(self.task)
        if self.config.outcome == "nan":
            return np.full((len(records), 3), np.nan)
        numbers = np.array([int(one[1:]) for one in records.texts("id")])
        errs = (numbers * 37 % 100) / 100 < abs(self.config.shift - 0.3) + 0.01 * (self.config.width - 1)
        found = np.full((len(records), 3), 0.1)
        found[np.arange(len(records)), (targets + errs) % 3] = 0.8
        return found

    def _write(self, folder):
        raise NotImplementedError

    def _read(self, folder):
        raise NotImplementedError


class NoisyNet(Noisy):
    """One that trains in steps."""

    wants_valid: ClassVar[bool] = True


@dataclass
class Bench:
    """A problem of a search, and every classifier that was fitted for it."""

    records: Records
    folder: Path
    rows: int = 90
    fitted: list[Noisy] = field(default_factory=list)
    told: list[str] = field(default_factory=list)

    def fit(self, settings, rows, on_progress=None):
        """Fit a classifier of these settings on rows of the records."""
        classifier = Noisy(REFUSAL, settings)
        classifier.on_progress = on_progress
        self.fitted.append(classifier)
        return classifier.fit(self.records.take(rows))

    def problem(self, metric="custom_score", most_epochs=0, folds=3, **settings):
        """What trials share."""
        return Problem(
            REFUSAL,
            self.records,
            make_folds(self.records, REFUSAL, np.arange(self.rows), folds, 0),
            NoisyConfig(**settings),
            self.fit,
            make_scorer(REFUSAL, metric),
            most_epochs,
        )

    def tell(self, words: str, share: float) -> None:
        """Listen."""
        assert 0 <= share <= 1
        self.told.append(words)

    def tell_words(self, words: str) -> None:
        """Listen."""
        self.told.append(words)

    def job(self, search: dict[str, Any] | None, params=None, name="test", fold=None):
        """A fit whose training rows are the first of the records."""
        split = Split(name, np.arange(self.rows), np.arange(self.rows, len(self.records)), None, fold)
        values = {"name": "noisy", "family": "noisy", "search": search}
        return SimpleNamespace(
            spec=parse_settings(ModelSpec, values),
            data=SimpleNamespace(task=REFUSAL, records=self.records),
            split=split,
            seed=7,
            folder=self.folder,
            params=params,
            trials=self.folder / "trials.csv",
            tell=self.tell,
        )
