"""What a cell consists of: its fits, what each depends on, and the files it leaves.

A part file is named by a hash of all that its fit depends on, so that what has a file need not be fitted again.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from demur.data import Records, Split
from demur.errors import DemurError
from demur.experiment._config import ExperimentConfig, ModelSpec
from demur.experiment._curves import CurveFiles
from demur.experiment._fit import Tell, resolve_spec, tell_nobody
from demur.experiment._folder import RunFolder
from demur.experiment._key import hash_code, hash_files, hash_judging, hash_split
from demur.experiment._prepare import TaskData
from demur.experiment._search_config import UNKEYED
from demur.paths import hash_value


@dataclass(frozen=True)
class Part:
    """One fit beside the main one."""

    protocol: str
    """``cv``, ``leave_one_model_out``, ``leave_one_source_out``, or ``seed``: the main split with another seed."""
    number: int
    split: Split
    seed: int

    @property
    def words(self) -> str:
        """What it is, for progress and reasons."""
        if self.protocol == "seed":
            return f"seed {self.seed}"
        return f"{self.protocol.replace('_', ' ')} {self.split.fold or self.number + 1}"


@dataclass(frozen=True)
class Cell:
    """What one cell needs."""

    spec: ModelSpec
    data: TaskData
    config: ExperimentConfig
    folder: RunFolder
    versions: dict[str, str]
    others: Mapping[str, TaskData] = field(default_factory=dict)
    """All tasks of the experiment by name."""
    tell: Tell = tell_nobody

    @property
    def title(self) -> str:
        """What it is called in progress."""
        return f"{self.data.task.name} · {self.spec.name}"

    @cached_property
    def family(self) -> str:
        """The name of its family."""
        return resolve_spec(self.spec)[0].family

    @cached_property
    def _basis(self) -> dict[str, Any]:
        family, settings = resolve_spec(self.spec)
        searched = [hash_split(self.data.main), self.config.first_seed] if self.spec.search else None
        files = hash_files(settings.model_dump(mode="json"), fetch=True)
        return (
            ({"files": files} if files else {})
            | ({"companions": self._companions()} if family.wants_companions else {})
            | ({"searched": searched} if searched else {})
            | {
                "spec": self.spec.model_dump(
                    mode="json", exclude={"tasks": True, "protocols": True, "search": UNKEYED}
                ),
                "task": self.data.task.model_dump(mode="json"),
                "data": self.data.hashes["hash"],
                "versions": self.versions,
                "code": hash_code(family),
            }
        )

    def _companions(self) -> dict[str, Any]:
        """What the rows of the other tasks, and the choice among them, depend on."""
        others = {name: data for name, data in self.others.items() if name != self.data.task.name}
        return {
            "tasks": {
                name: [data.task.model_dump(mode="json"), data.hashes["hash"], hash_value(data.base_groups)]
                for name, data in others.items()
            },
            "barred": [hash_value(self.data.base_groups), self.data.hashes["blind_hash"]],
        }

    def key_of(self, split: Split, seed: int) -> str:
        """Hash of everything a fit depends on."""
        if id(split) not in self._hashes:
            self._hashes[id(split)] = hash_split(split)
        rows = self._hashes[id(split)]
        return hash_value(self._basis | {"split": rows, "seed": seed})

    def params_of(self, part: Part) -> dict[str, Any] | None:
        """Settings that a fit takes from the main one's search; None where it searches itself, or nothing is.

        Empty before the main fit.
        """
        search = self.spec.search
        if search is None or (search.nested and part.protocol != "seed"):
            return None
        try:
            found: dict[str, Any] = json.loads(self.facts_path.read_text(encoding="utf-8"))["best_params"]
        except (OSError, ValueError):
            return {}
        return found

    def key_of_part(self, part: Part) -> str:
        """Hash of everything a fit beside the main one depends on."""
        key, params = self.key_of(part.split, part.seed), self.params_of(part)
        return key if params is None else hash_value([key, params])

    @cached_property
    def _hashes(self) -> dict[int, str]:
        """Hashes of the splits of ``data`` by identity, since each is asked for many times."""
        return {}

    @cached_property
    def key(self) -> str:
        """Hash of everything the main fit, its predictions and its costs depend on."""
        blind = self.data.hashes["blind_hash"]
        return hash_value([self.key_of(self.data.main, self.config.first_seed), blind, self._ready])

    @property
    def _ready(self) -> dict[str, Any]:
        """What the main split's fits are given after they have learned, and those of the folds are not."""
        return self.config.ready.model_dump(mode="json")

    def protocols(self) -> dict[str, list[Split]]:
        """The further protocols this model goes through."""
        folds = self.config.validation.folds_for(self.family)
        on = ({"cv": self.data.cv[folds]} if folds in self.data.cv else {}) | self.data.protocols
        wanted = self.spec.protocols
        return {name: splits for name, splits in on.items() if not wanted or name in wanted}

    @cached_property
    def parts(self) -> list[Part]:
        """Every fit beside the main one."""
        found = [
            Part(protocol, number, split, self.config.first_seed)
            for protocol, splits in self.protocols().items()
            for number, split in enumerate(splits)
        ]
        if len(self.config.seeds) > 1 and self._is_seeded():
            found += [Part("seed", 0, self.data.main, seed) for seed in self.config.seeds[1:]]
        return found

    def _is_seeded(self) -> bool:
        family, settings = resolve_spec(self.spec)
        try:
            return self.spec.search is not None or family(self.data.task, settings).is_seeded
        except DemurError:  # it will say so when it is fitted
            return False

    @property
    def judge_key(self) -> str:
        """Hash of everything the figures depend on; known for good once the main fit is done."""
        fits = [[part.protocol, part.number, self.key_of_part(part)] for part in self.parts]
        settings = self.config
        return hash_value([self.key, fits, settings.draws, settings.level, settings.seed, hash_judging()])

    def fits(self) -> int:
        """How many times the model is fitted."""
        return 1 + len(self.parts)

    def main_sides(self) -> dict[str, Records]:
        """The rows that the main fit judges."""
        sides = {"valid": self.data.main.valid, "test": self.data.main.test}
        rows = {name: self.data.records.take(at) for name, at in sides.items() if at is not None and len(at)}
        return rows | ({"blind": self.data.blind} if self.data.blind is not None else {})

    def path_of(self, part: Part | None, side: str) -> Path:
        """The part file of a fit (None: the main one) and of what it judges."""
        if part is None:
            return self._file(f"{side}-{self.key[:16]}")
        key = self.key_of_part(part)
        if part.protocol == "seed":  # the blind rows are not part of a fit's key
            key = hash_value([key, self.data.hashes["blind_hash"], self._ready])
            return self._file(f"seed-{part.seed}-{side}-{key[:16]}")
        return self._file(f"{side}-{part.number}-{key[:16]}")

    def files_of(self, part: Part | None) -> list[Path]:
        """Every part file of a fit."""
        if part is None:
            return [*(self.path_of(None, side) for side in self.main_sides()), self.facts_path]
        sides = list(self.main_sides()) if part.protocol == "seed" else [part.protocol]
        return [self.path_of(part, side) for side in sides]

    @property
    def facts_path(self) -> Path:
        """Costs and such of the main fit; written last."""
        return self._file(f"facts-{self.key[:16]}").with_suffix(".json")

    @property
    def work(self) -> Path:
        """For checkpoints of a fit under way."""
        return self._file("x").parent / "work"

    @property
    def curves(self) -> CurveFiles:
        """Learning curve and class weights."""
        return self.folder.curves(self.data.task.name, self.spec.name)

    def is_fitted(self, part: Part | None) -> bool:
        """Whether the files of a fit are all there."""
        has_model = part is not None or self.folder.has_model(self.data.task.name, self.spec.name, self.key)
        return all(path.exists() for path in self.files_of(part)) and has_model

    def _file(self, name: str) -> Path:
        return self.folder.part(self.data.task.name, self.spec.name, name)
