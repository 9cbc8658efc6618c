"""What every classifier is: the protocol, the base that families build on, and what prediction returns."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Protocol, Self, TypeVar, runtime_checkable

import numpy as np
import polars as pl
from numpy.typing import NDArray

from demur.config import Settings
from demur.data import Records, repair_texts
from demur.errors import ArtifactError, LabelError, UsageError
from demur.models._calibrate import Calibration
from demur.models._conformal import Conformal
from demur.models._operating import OperatingPoints, threat_scores
from demur.registry import Registry
from demur.tasks import Task

if TYPE_CHECKING:
    from demur.training import Progress, TrainResult

Probabilities = NDArray[np.float64]
RecordsLike = Records | pl.DataFrame | Iterable[Mapping[str, Any]]


@dataclass(frozen=True)
class Predictions:
    """What a classifier says of ``n`` records: a label and a probability of every class each."""

    task: Task
    ids: list[str]
    probabilities: Probabilities
    """``(n, k)``; rows sum to 1, columns follow ``task.labels``."""
    operating: OperatingPoints | None = None
    conformal: Conformal | None = None

    @property
    def threat_score(self) -> NDArray[np.float64]:
        """Sum of the threat labels' probabilities, ``(n,)``: what operating points stand on."""
        return threat_scores(self.probabilities, self.task.label_ids(self.task.threat_labels))

    def flagged(self, name: str) -> NDArray[np.bool_]:
        """Records whose threat score is above an operating point's threshold, ``(n,)``.

        Parameters
        ----------
        name
            The point, such as ``fpr_1`` for a false-positive rate of 1 %.

        Raises
        ------
        UsageError
            The classifier has no such point, or its rows were too few for a threshold.
        """
        if self.operating is None:
            raise UsageError(
                f"the classifier of task '{self.task.name}' has no operating points; "
                "give it some with demur.models.make_ready"
            )
        return self.operating.flag(self.probabilities, name)

    @property
    def unsure(self) -> NDArray[np.bool_]:
        """Records for which one label is not enough to keep the promise of abstention, ``(n,)``.

        Raises
        ------
        UsageError
            The classifier has no abstention.
        """
        if self.conformal is None:
            raise UsageError(
                f"the classifier of task '{self.task.name}' has no abstention; "
                "give it one with demur.models.make_ready"
            )
        return self.conformal.unsure(self.probabilities)

    @property
    def class_ids(self) -> NDArray[np.int64]:
        """The most probable class of each record, ``(n,)``."""
        return np.asarray(self.probabilities.argmax(axis=1), dtype=np.int64)

    @property
    def labels(self) -> list[str]:
        """The most probable label of each record."""
        return [self.task.labels[number] for number in self.class_ids]

    def __len__(self) -> int:
        return len(self.ids)

    def frame(self) -> pl.DataFrame:
        """One row a record: ``id``, ``label``, and ``p_<label>`` for every label."""
        columns: dict[str, Any] = {"id": self.ids, "label": self.labels}
        for number, label in enumerate(self.task.labels):
            columns[f"p_{label}"] = self.probabilities[:, number]
        return pl.DataFrame(columns)


@runtime_checkable
class Classifier(Protocol):
    """Anything that learns a task from records and gives class probabilities."""

    family: ClassVar[str]
    task: Task

    def fit(self, train: Records, valid: Records | None = None) -> Self:
        """Learn from labelled records; ``valid`` may steer early stopping, never the test rows."""
        ...

    def predict_proba(self, records: Records) -> Probabilities:
        """Class probabilities ``(n, k)``."""
        ...

    def predict(self, records: RecordsLike) -> Predictions:
        """Judge records, a polars frame, or an iterable of mappings."""
        ...

    def save(self, folder: Path) -> None:
        """Write the classifier as a folder."""
        ...

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read a classifier back; refuses one that is incomplete or altered."""
        ...


C = TypeVar("C", bound=Settings)


class BaseClassifier(ABC, Generic[C]):
    """What the families share; a family gives ``_fit``, ``_predict``, ``_write`` and ``_read``.

    Parameters
    ----------
    task
        The task to learn.
    config
        The family's settings; default settings where absent.
    seed
        Seed of everything random in training.
    """

    family: ClassVar[str]
    config_type: ClassVar[type[Settings]]
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {}
    """Named settings a configuration may use in place of a mapping."""

    def __init__(self, task: Task, config: C | None = None, seed: int = 0) -> None:
        self.task = task
        self.config: C = config if config is not None else self.config_type()  # type: ignore[assignment]
        self.seed = seed
        self.best_params: dict[str, Any] = {}
        """What tuning chose, shown in the results."""
        self.fingerprint = ""
        """Hash of the saved files it was loaded from; empty before saving."""
        self.checkpoint_folder: Path | None = None
        """Where a long training keeps checkpoints, so that a killed one goes on; set before ``fit``."""
        self.on_progress: Callable[[Progress], None] | None = None
        """Called by families that train in steps, after every step and validation; may raise to stop."""
        self.training: TrainResult | None = None
        """How the last ``fit`` of a torch family went; None for others and for a loaded classifier."""
        self.companions: dict[str, tuple[Task, Records]] = {}
        """Training rows of other tasks, by task name, for families that learn several at once
        (``wants_companions``); set before ``fit``, without any row whose group is held out."""
        self.calibration: Calibration | None = None
        """Map of its own probabilities to those it gives; set after ``fit``, which forgets it, as the next two."""
        self.operating: OperatingPoints | None = None
        """Thresholds for given false-positive rates."""
        self.conformal: Conformal | None = None
        """When to say "unsure"."""

    def fit(self, train: Records, valid: Records | None = None) -> Self:
        """Learn from labelled records.

        Raises
        ------
        LabelError
            A label is outside the task, or only one class is there.
        """
        train = train.labelled(self.task)
        targets = train.targets(self.task)
        present = np.unique(targets)
        if len(present) < 2 and self.needs_training:
            raise LabelError(
                f"the training rows of task '{self.task.name}' have one class only "
                f"('{self.task.labels[present[0]]}', n={len(train)}); add rows of another class"
            )
        self.calibration = self.operating = self.conformal = None
        self._fit(train, targets, valid.labelled(self.task) if valid is not None else None)
        return self

    def predict_proba(self, records: Records) -> Probabilities:
        """Class probabilities ``(n, k)``, calibrated where there is a calibration; ``n`` may be 0."""
        raw = self.raw_proba(records)
        return raw if self.calibration is None else self.calibration.apply(raw)

    def raw_proba(self, records: Records) -> Probabilities:
        """The model's own class probabilities ``(n, k)``, not calibrated; ``n`` may be 0."""
        if not len(records):
            return np.empty((0, len(self.task.labels)))
        return np.asarray(self._predict(records), dtype=np.float64)

    def predict(self, records: RecordsLike) -> Predictions:
        """Judge records, a polars frame, or an iterable of mappings.

        Texts are repaired first as cleaning repairs what models learn from: encoding, control characters, ends.
        """
        if isinstance(records, pl.DataFrame):
            records = Records(records)
        elif not isinstance(records, Records):
            records = Records.from_rows(records)
        probabilities = self.predict_proba(repair_texts(records))
        return Predictions(self.task, records.texts("id"), probabilities, self.operating, self.conformal)

    def save(self, folder: Path) -> None:
        """Write the classifier as a folder: weights, ``config.json``, ``demur.json`` and a model card.

        A saved model of that name is replaced.

        Raises
        ------
        UsageError
            The folder holds something else than a saved model.
        StorageError
            The disk is full or not writable.
        """
        from demur.models._artifact import save_classifier

        save_classifier(self, Path(folder))

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read a saved classifier of this family.

        Raises
        ------
        ArtifactError
            A file is missing or altered, the loaded model gives other probabilities than the saved one, or
            it is of another family.
        """
        from demur.models._artifact import load_classifier

        loaded = load_classifier(Path(folder))
        if not isinstance(loaded, cls):
            raise ArtifactError(
                f"{folder} holds a '{loaded.family}' model, not a '{cls.family}' one; load it with demur.load"
            )
        return loaded

    @property
    def reads(self) -> tuple[str, ...]:
        """The text columns it judges by."""
        return tuple(getattr(self.config, "fields", ()) or self.task.fields)

    @property
    def watches_valid(self) -> bool:
        """Whether a fit with these settings has a use for validation rows; else all rows are there to learn."""
        return self.wants_valid

    @property
    def is_seeded(self) -> bool:
        """False where a fit with these settings does not depend on the seed."""
        return True

    wants_valid: ClassVar[bool] = False
    """True for families that stop early on a validation set."""
    wants_companions: ClassVar[bool] = False
    """True for families that learn several tasks at once; see ``companions``."""
    needs_training: ClassVar[bool] = True
    """False for families that only read rules; they may see one class."""
    search_space: ClassVar[Mapping[str, Mapping[str, Any]]] = {}
    """What a search varies by default: dotted setting to ``{"choices": [...]}`` or
    ``{"low": a, "high": b, "log": bool, "int": bool}``."""

    @classmethod
    def default_space(cls, config: Any) -> Mapping[str, Mapping[str, Any]]:
        """What a search varies by default under these settings; ``search_space`` unless they matter."""
        return cls.search_space

    def top_features(self, count: int = 20) -> dict[str, list[tuple[str, float]]] | None:
        """The most telling features per label, where the family has named ones; else None."""
        return None

    def study(self, valid: Records) -> None:
        """Look at labelled rows it did not learn from, for families that report on them; changes no answer."""
        return None

    @abstractmethod
    def _fit(self, train: Records, targets: NDArray[np.int64], valid: Records | None) -> None:
        """Learn; ``train`` is labelled, ``targets`` are its class ids ``(n,)``."""

    @abstractmethod
    def _predict(self, records: Records) -> NDArray[np.floating[Any]]:
        """Class probabilities ``(n, k)`` of at least one record."""

    @abstractmethod
    def _write(self, folder: Path) -> None:
        """Write the weights into an existing empty folder."""

    @abstractmethod
    def _read(self, folder: Path) -> None:
        """Restore the weights that ``_write`` wrote; the files' hashes are already checked."""


CLASSIFIERS: Registry[type[BaseClassifier[Any]]] = Registry("classifier")
