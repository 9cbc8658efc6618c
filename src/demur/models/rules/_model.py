"""The rules classifier: documented keyword lists, one a task, matched on the opening of a text."""

from __future__ import annotations

import re
from functools import cached_property
from importlib.resources import files
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from demur.config import parse_settings, read_mapping
from demur.data import Records
from demur.errors import ConfigError, TrainingError, near_match
from demur.models._base import BaseClassifier, Probabilities
from demur.models.rules._config import Rule, RuleFile, RulesConfig
from demur.paths import write_json

_QUOTES = str.maketrans({"\u2019": "'", "\u2018": "'", "\u201c": '"', "\u201d": '"', "\u00a0": " "})
_FILE = "rules.json"


class RulesClassifier(BaseClassifier[RulesConfig]):
    """Judge by keywords; learns nothing, so every unseen source is as good as a seen one."""

    family: ClassVar[str] = "rules"
    config_type = RulesConfig
    presets = {"rules": {}}  # noqa: RUF012
    needs_training: ClassVar[bool] = False

    @property
    def is_seeded(self) -> bool:
        """Never: there is nothing to learn."""
        return False

    @cached_property
    def rules(self) -> RuleFile:
        """The rules in force.

        Raises
        ------
        TrainingError
            There is no list for the task.
        ConfigError
            The rule file cannot be read, or gives a label or reads a text that the task has not.
        """
        if self.config.rules is not None:
            return self._check(self.config.rules)
        if self.config.file is not None:
            path = Path(self.config.file)
            return self._check(parse_settings(RuleFile, read_mapping(path), str(path)))
        built_in = files("demur.models.rules") / "lists" / f"{self.task.name}.yaml"
        if not built_in.is_file():
            raise TrainingError(
                f"there is no built-in keyword list for task '{self.task.name}'; "
                "write one and name it: {family: rules, file: my-rules.yaml}"
            )
        return self._check(parse_settings(RuleFile, read_mapping(Path(str(built_in))), str(built_in)))

    @property
    def reads(self) -> tuple[str, ...]:
        """The text columns its rules read."""
        return tuple(sorted({rule.field for rule in self.rules.rules})) or self.task.fields

    def judge(self, record_texts: dict[str, str]) -> str:
        """Label of one record, given its texts by field."""
        texts = {field: normalise(text) for field, text in record_texts.items()}
        for rule, matcher in self._matchers:
            if matcher(texts.get(rule.field, "")):
                return rule.label
        return self.rules.default

    @cached_property
    def _matchers(self) -> list[tuple[Rule, Any]]:
        return [(rule, _compile_rule(rule)) for rule in self.rules.rules]

    def _check(self, rules: RuleFile) -> RuleFile:
        for label in (rules.default, *(rule.label for rule in rules.rules)):
            if label not in self.task.labels:
                raise ConfigError(
                    f"the keyword list for task '{rules.task}' gives label '{label}', which is not one of task "
                    f"'{self.task.name}' ({', '.join(self.task.labels)}){near_match(label, self.task.labels)}; "
                    "correct the list"
                )
        for rule in rules.rules:
            if rule.field not in self.task.fields:
                raise ConfigError(
                    f"a rule of the keyword list for task '{rules.task}' reads the {rule.field}, task "
                    f"'{self.task.name}' only the {' and '.join(self.task.fields)}; give the rule its field:"
                )
        return rules

    def _fit(self, train: Records, targets: NDArray[np.int64], valid: Records | None) -> None:
        _ = self.rules  # a missing list is known at once

    def _predict(self, records: Records) -> Probabilities:
        texts = {field: records.texts(field) for field in ("prompt", "response")}
        count = len(self.task.labels)
        probabilities = np.full((len(records), count), (1 - self.config.confidence) / (count - 1))
        for row in range(len(records)):
            label = self.judge({field: values[row] for field, values in texts.items()})
            probabilities[row, self.task.label_id(label)] = self.config.confidence
        return probabilities

    def _write(self, folder: Path) -> None:
        write_json(folder / _FILE, self.rules.model_dump(mode="json"))

    def _read(self, folder: Path) -> None:
        self.__dict__["rules"] = self._check(
            parse_settings(RuleFile, read_mapping(folder / _FILE), str(folder / _FILE))
        )


def normalise(text: str) -> str:
    """Lower case, straight quotes, single spaces."""
    return " ".join(text.translate(_QUOTES).lower().split())


def _compile_phrases(phrases: tuple[str, ...]) -> re.Pattern[str] | None:
    """One pattern for all phrases, at word boundaries; ``*`` stands for any part of a word."""
    if not phrases:
        return None
    parts = [re.escape(normalise(phrase)).replace(r"\*", r"\w*") for phrase in phrases]
    return re.compile(r"(?<!\w)(?:" + "|".join(parts) + r")(?!\w)")


def _compile_rule(rule: Rule) -> Any:
    first, also, never = (_compile_phrases(part) for part in (rule.any_of, rule.also_any_of, rule.none_of))

    def fires(text: str) -> bool:
        if not rule.min_chars <= len(text) <= rule.max_chars:
            return False
        if first is not None:
            found = first.search(text)
            if found is None or found.start() >= rule.first_chars:
                return False
        if also is not None and not also.search(text):
            return False
        banned = never.search(text) if never is not None else None
        return banned is None or banned.start() >= rule.none_first_chars

    return fires
