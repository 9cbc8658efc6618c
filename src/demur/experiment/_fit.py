"""One fit: which family with which settings learns which rows, and what it is given beside them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from demur.data import Split, SplitConfig, split_records
from demur.errors import DataError
from demur.experiment._companions import gather_companions
from demur.experiment._config import ModelSpec
from demur.experiment._prepare import TaskData
from demur.models import CLASSIFIERS, BaseClassifier, find_preset

if TYPE_CHECKING:
    from demur.training import Progress

INNER_VALID = 0.12
"""Share of the training groups that families with early stopping set aside for it."""
Tell = Callable[[str, float], None]
"""Told where a long fit stands: words, and the share that is done."""


def tell_nobody(words: str, share: float) -> None:
    """Ignore."""


@dataclass(frozen=True)
class FitJob:
    """One fit of a model."""

    spec: ModelSpec
    data: TaskData
    split: Split
    """Its training rows are all that may be looked at."""
    seed: int
    folder: Path
    """For what a killed fit goes on from."""
    others: Mapping[str, TaskData] = field(default_factory=dict)
    """All tasks of the experiment, for families that learn several at once."""
    tell: Tell = tell_nobody


def fit_job(job: FitJob) -> BaseClassifier[Any]:
    """Fit the model of a job on its training rows.

    Raises
    ------
    RegistryError, ConfigError
        The preset, family or a setting is unknown.
    DemurError
        Whatever keeps the family from learning.
    """
    family, settings = resolve_spec(job.spec)
    classifier = family(job.data.task, settings, job.seed)
    classifier.checkpoint_folder = job.folder / "checkpoints"
    classifier.on_progress = _teller(job.tell)
    fit_classifier(classifier, job)
    classifier.checkpoint_folder, classifier.on_progress = None, None
    return classifier


def resolve_spec(spec: ModelSpec) -> tuple[type[BaseClassifier[Any]], Any]:
    """Family and checked settings of a model spec.

    Raises
    ------
    RegistryError, ConfigError
        The preset, family or a setting is unknown.
    """
    from demur.config import parse_settings

    if spec.preset is not None:
        family, base = find_preset(spec.preset)
    else:
        assert spec.family is not None
        family, base = CLASSIFIERS.get(spec.family), {}
    return family, parse_settings(family.config_type, base | spec.settings, f"models: '{spec.name}'")


def fit_classifier(classifier: BaseClassifier[Any], job: FitJob) -> BaseClassifier[Any]:
    """Fit on the job's training rows; a family that stops early gets a grouped part of them to watch."""
    train, watched = job.split.train, None
    if classifier.wants_valid:
        train, watched = _set_aside(job)
    if classifier.wants_companions:
        parts = [job.split.test, job.split.valid, watched]
        held = np.unique(np.concatenate([part for part in parts if part is not None]))
        classifier.companions = gather_companions(job.data, job.others, job.split, held)
    records = job.data.records
    return classifier.fit(records.take(train), records.take(watched) if watched is not None else None)


def _set_aside(job: FitJob) -> tuple[NDArray[np.int64], NDArray[np.int64] | None]:
    """Rows to learn from and rows to watch, of different groups; None to watch where there are too few groups."""
    rows = job.split.train
    train = job.data.records.take(rows)
    try:
        inner = split_records(train, job.data.task, SplitConfig(test=INNER_VALID, valid=0, seed=job.seed))
    except DataError:
        return rows, None
    if len(np.unique(train.take(inner.train).targets(job.data.task))) < 2:
        return rows, None
    return rows[inner.train], rows[inner.test]


def _teller(tell: Tell) -> Callable[[Progress], None]:
    def report(progress: Progress) -> None:
        score = "" if progress.score is None else f", score {progress.score:.3f}"
        tell(f"epoch {progress.epoch:.1f}{score}", progress.step / max(progress.steps, 1))

    return report
