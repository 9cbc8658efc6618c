"""The ensemble classifier: fits its members, joins their answers, and tells how different they are."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from demur.data import Records
from demur.models._artifact import load_classifier, save_classifier
from demur.models._base import BaseClassifier, Probabilities
from demur.models.ensemble._combine import (
    Stack,
    fit_stack,
    mix,
    vote_hard,
    vote_soft,
    weigh_by_loss,
    weigh_by_score,
)
from demur.models.ensemble._config import FAMILY, EnsembleConfig, resolve_member
from demur.models.ensemble._diversity import measure_diversity
from demur.models.ensemble._train import OutOfFold, Trainer
from demur.paths import write_json

_FILE, _DIVERSITY, _MEMBERS = "ensemble.json", "diversity.json", "members"


class EnsembleClassifier(BaseClassifier[EnsembleConfig]):
    """Several classifiers that answer as one: by votes, by weights, or by a regression on their answers.

    Weights and regression are learned out of fold: of each row they see what members say that did not learn from
    its group. The members that answer are then fitted on all rows.

    Attributes
    ----------
    diversity
        How different the members are, as plain values (see ``measure_diversity``); None until they were compared
        out of fold or by ``study``.
    weights
        The members' weights ``(m,)`` of method ``weighted``.
    """

    family: ClassVar[str] = FAMILY
    config_type = EnsembleConfig
    wants_companions: ClassVar[bool] = True  # for the members that learn several tasks at once
    presets = {  # noqa: RUF012
        "vote_soft": {},
        "vote_hard": {"method": "hard"},
        "vote_weighted": {"method": "weighted"},
        "stacking": {"method": "stacking"},
    }
    search_space = {  # noqa: RUF012
        "method": {"choices": ["soft", "hard", "weighted", "stacking"]},
        "c": {"low": 0.05, "high": 20.0, "log": True},
    }

    diversity: dict[str, Any] | None = None
    weights: NDArray[np.float64] | None = None
    _stack: Stack | None = None

    @property
    def reads(self) -> tuple[str, ...]:
        """The text columns that any member judges by."""
        families = [
            family(self.task, settings, self.seed) for family, settings in map(resolve_member, self.config.members)
        ]
        read = {field for member in families for field in member.reads}
        return tuple(field for field in self.task.fields if field in read)

    def study(self, valid: Records) -> None:
        """Compare the members on rows they did not learn from, where that was not done out of fold."""
        if self.diversity is None:
            valid = valid.labelled(self.task)
            rows = OutOfFold(valid.targets(self.task), self.judge(valid), valid.groups())
            self.diversity = self._compare("held-out", rows)

    def judge(self, records: Records) -> NDArray[np.float64]:
        """Every member's own probabilities, ``(m, n, k)``."""
        return np.stack([member.predict_proba(records) for member in self._members])

    def _fit(self, train: Records, targets: NDArray[np.int64], valid: Records | None) -> None:
        self.diversity = self.weights = self._stack = None
        trainer = Trainer(self.config, self.task, self.seed, self.checkpoint_folder, self.companions)
        if self.config.method in ("weighted", "stacking"):
            self._learn(trainer.fit_folds(train))
        self._members = trainer.fit_members(train, valid)

    def _learn(self, rows: OutOfFold) -> None:
        if self.config.method == "stacking":
            self._stack = fit_stack(rows.y, rows.probabilities, self.config.c, self.config.balanced)
        elif self.config.weigh_by == "log_loss":
            self.weights = weigh_by_loss(rows.y, rows.probabilities)
        else:
            self.weights = weigh_by_score(self.task, rows.y, rows.probabilities)
        self.diversity = self._compare("out-of-fold", rows)

    def _compare(self, kind: str, rows: OutOfFold) -> dict[str, Any]:
        found = measure_diversity(self.config.names, rows.y, rows.probabilities, rows.groups)
        if self.weights is not None:
            for member, weight in zip(found["members"], self.weights.tolist(), strict=True):
                member["weight"] = weight
        return {"method": self.config.method, "rows": kind, **found}

    def _predict(self, records: Records) -> Probabilities:
        probabilities = self.judge(records)
        if self.config.method == "hard":
            return vote_hard(probabilities)
        if self.weights is not None:
            return mix(self.weights, probabilities)
        if self._stack is not None:
            return self._stack.apply(probabilities)
        return vote_soft(probabilities)

    def _write(self, folder: Path) -> None:
        for number, member in enumerate(self._members):
            save_classifier(member, folder / _MEMBERS / str(number))
        state = {
            "members": list(self.config.names),
            "weights": None if self.weights is None else self.weights.tolist(),
            "stack": None if self._stack is None else self._stack.to_json(),
        }
        write_json(folder / _FILE, state)
        if self.diversity is not None:
            write_json(folder / _DIVERSITY, self.diversity)

    def _read(self, folder: Path) -> None:
        state = json.loads((folder / _FILE).read_text(encoding="utf-8"))
        self._members = [
            load_classifier(folder / _MEMBERS / str(number)) for number in range(len(state["members"]))
        ]
        self.weights = None if state["weights"] is None else np.array(state["weights"])
        self._stack = None if state["stack"] is None else Stack.from_json(state["stack"])
        path = folder / _DIVERSITY
        self.diversity = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None
