"""One fit: which family with which settings learns which rows, and what it is given beside them."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from demur.data import Split, SplitConfig, split_records
from demur.errors import DataError
from demur.experiment._companions import gather_companions
from demur.experiment._config import ModelSpec
from demur.experiment._prepare import TaskData
from demur.models import BaseClassifier, find_family

if TYPE_CHECKING:
    from demur.training import Progress

INNER_VALID = 0.12
"""Share of the training groups that families with early stopping set aside for it."""
_ROOT = Path(__file__).parents[1]
Rows = NDArray[np.int64]
Hook = Callable[["Progress"], None]
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
    params: dict[str, Any] | None = None
    """Settings that the search of the main fit chose; they are taken and nothing is searched."""
    trials: Path | None = None
    """Where a search writes what it tried."""


@dataclass(frozen=True)
class Fitted:
    """A fitted classifier and what there is to say of the fit."""

    classifier: BaseClassifier[Any]
    search: dict[str, Any] | None = None
    """What a search of settings found; None where there was none."""
    notes: list[str] = field(default_factory=list)
    """Warnings of the family: what it could not do as asked."""


def fit_job(job: FitJob) -> Fitted:
    """Fit the model of a job on its training rows.

    Raises
    ------
    RegistryError, ConfigError
        The preset, family or a setting is unknown.
    DemurError
        Whatever keeps the family from learning.
    """
    from demur.experiment._search import search_settings

    family, settings = resolve_spec(job.spec)
    # Trials may run in processes of their own, and a listener, such as a progress bar, cannot go with them.
    quiet = replace(job, tell=tell_nobody)

    def fit_trial(settings: Any, rows: Rows, on_progress: Hook | None = None) -> BaseClassifier[Any]:
        trial = family(quiet.data.task, settings, quiet.seed)
        trial.on_progress = on_progress
        return fit_classifier(trial, quiet, rows)

    with gather_notes() as notes:
        found = None
        if job.spec.search is not None:
            settings, found = search_settings(job, family, settings, fit_trial)
        classifier = family(job.data.task, settings, job.seed)
        classifier.checkpoint_folder = job.folder / "checkpoints"
        classifier.on_progress = _teller(job.tell)
        fit_classifier(classifier, job, job.split.train)
    classifier.checkpoint_folder, classifier.on_progress = None, None
    if found is not None:
        classifier.best_params = dict(found.params)
    return Fitted(classifier, found.to_json() if found is not None else None, notes)


@contextmanager
def gather_notes() -> Iterator[list[str]]:
    """Collect the warnings that demur itself gives, each once; those of others go where they always go."""
    notes: list[str] = []
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", UserWarning)
        yield notes
    for warning in caught:
        is_ours = warning.category is UserWarning and Path(warning.filename).is_relative_to(_ROOT)
        if not is_ours:
            warnings.warn_explicit(warning.message, warning.category, warning.filename, warning.lineno)
        elif str(warning.message) not in notes:
            notes.append(str(warning.message))


def resolve_spec(spec: ModelSpec) -> tuple[type[BaseClassifier[Any]], Any]:
    """Family and checked settings of a model spec.

    Raises
    ------
    RegistryError, ConfigError
        The preset, family or a setting is unknown.
    """
    return find_family(spec.preset, spec.family, spec.settings, f"models: '{spec.name}'")


def fit_classifier(classifier: BaseClassifier[Any], job: FitJob, rows: Rows) -> BaseClassifier[Any]:
    """Fit on these of the job's training rows; a family that stops early gets a grouped part of them to watch."""
    train, watched = _set_aside(job, rows) if classifier.watches_valid else (rows, None)
    records = job.data.records
    if classifier.wants_companions:
        held = np.setdiff1d(np.arange(len(records)), train)
        classifier.companions = gather_companions(job.data, job.others, job.split, held)
    return classifier.fit(records.take(train), records.take(watched) if watched is not None else None)


def _set_aside(job: FitJob, rows: Rows) -> tuple[Rows, Rows | None]:
    """Rows to learn from and rows to watch, of different groups; None to watch where there are too few groups."""
    train = job.data.records.take(rows)
    try:
        inner = split_records(train, job.data.task, SplitConfig(test=INNER_VALID, valid=0, seed=job.seed))
    except DataError:
        return rows, None
    if len(np.unique(train.take(inner.train).targets(job.data.task))) < 2:
        return rows, None
    return rows[inner.train], rows[inner.test]


def _teller(tell: Tell) -> Hook:
    def report(progress: Progress) -> None:
        score = "" if progress.score is None else f", score {progress.score:.3f}"
        tell(f"epoch {progress.epoch:.1f}{score}", progress.step / max(progress.steps, 1))

    return report
