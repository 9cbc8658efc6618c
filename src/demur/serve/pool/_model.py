"""One loaded model: its classifier, the threads that judge with it, and what it is called."""

from __future__ import annotations

import logging
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from demur.serve.batching import Batcher, BatchingConfig, BatchStats, Job
from demur.serve.pool._texts import Texts
from demur.serve.pool._verdict import Verdict, thresholds_of, to_verdicts
from demur.tasks import Task

if TYPE_CHECKING:
    from demur.data import Records
    from demur.models import BaseClassifier, Predictions

_LOG = logging.getLogger(__name__)
_WARM = (
    "Hello.",
    "How do I keep bread fresh for a week? " * 4,
    "It is a matter of patience and of good light. " * 40,
)
Runtime = Literal["auto", "native", "onnx"]
Answer = dict[str, Verdict]
"""Task to verdict."""


@dataclass(frozen=True)
class LoadOptions:
    """How models are loaded and run."""

    runtime: Runtime = "auto"
    threads: int = 1
    batching: BatchingConfig = field(default_factory=BatchingConfig)
    languages: bool = False
    """Whether each row's language is told, so that its record can have it."""
    observe: Callable[[str, BatchStats], None] | None = None
    """Called with the version after every batch, in the thread that judged it."""


class ServedModel:
    """A model in memory that judges rows of many requests together.

    Parameters
    ----------
    name
        In the registry.
    classifier
        What judges.
    options
        Threads, sizes of batches.
    """

    def __init__(self, name: str, classifier: BaseClassifier[Any], options: LoadOptions | None = None) -> None:
        options = options or LoadOptions()
        self.name, self.version = name, classifier.fingerprint
        self.tasks: tuple[Task, ...] = tuple(getattr(classifier, "tasks", ())) or (classifier.task,)
        self.runtime = str(getattr(classifier, "precision", "native"))
        self._classifier, self._languages = classifier, options.languages
        observe = options.observe
        self._batcher = Batcher(
            self._judge_batch,
            options.batching,
            options.threads if is_reentrant(classifier) else 1,
            name=f"judge-{self.version[:8]}",
            observe=None if observe is None else lambda stats: observe(self.version, stats),
        )
        self.thresholds: dict[str, dict[str, float]] = {
            name: thresholds_of(found) for name, found in self._predict([Texts("", "")]).items()
        }
        """Task to operating point to threshold."""

    @property
    def waiting(self) -> int:
        """Rows that wait to be judged."""
        return self._batcher.waiting

    def warm_up(self, max_rows: int) -> float:
        """Judge neutral texts of several lengths, one and many at a time; the seconds it took."""
        started = time.monotonic()
        rows = [Texts(text, text) for text in _WARM]
        for count in (1, len(rows), max_rows):
            self.judge([rows[number % len(rows)] for number in range(count)])
        return time.monotonic() - started

    def submit(self, job: Job) -> None:
        """Let a job of :class:`Texts` wait for its turn.

        Raises
        ------
        QueueFullError
            As many rows wait as may.
        QueueClosedError
            The model has been replaced.
        """
        self._batcher.submit(job)

    def judge(self, rows: Sequence[Texts]) -> list[Answer]:
        """Judge rows now, in this thread."""
        of_task = {name: to_verdicts(found) for name, found in self._predict(rows).items()}
        return [{name: verdicts[row] for name, verdicts in of_task.items()} for row in range(len(rows))]

    def close(self, timeout_s: float | None = None) -> bool:
        """Finish what waits and end the threads; whether they ended within the time."""
        return self._batcher.close(timeout_s)

    def _judge_batch(self, rows: Sequence[Texts]) -> list[Answer]:
        if self._languages:
            for row in rows:
                _ = row.language  # remembered with the row; told here, off the event loop
        return self.judge(rows)

    def _predict(self, rows: Sequence[Texts]) -> dict[str, Predictions]:
        from demur.data import Records
        from demur.models import Predictions, without_memory

        repaired = [one.repaired for one in rows]
        ids = [str(number) for number in range(len(rows))]
        records = Records.from_texts([prompt for prompt, _ in repaired], [response for _, response in repaired])
        classifier: Any = self._classifier
        own = classifier.task.name
        ready = {own: (classifier.operating, classifier.conformal)}
        with without_memory():  # what users send is not kept, and memory stays flat
            found = {own: classifier.predict_proba(records)} if len(self.tasks) == 1 else self._joint(records)
        return {
            task.name: Predictions(task, ids, found[task.name], *ready.get(task.name, (None, None)))
            for task in self.tasks
        }

    def _joint(self, records: Records) -> dict[str, Any]:
        """Probabilities of every task from one pass, the model's own task calibrated."""
        classifier: Any = self._classifier
        joint = classifier.joint_proba(records)  # (n, Σk): the classes of all tasks side by side
        found, first = {}, 0
        for task in self.tasks:
            found[task.name] = joint[:, first : first + len(task.labels)]
            first += len(task.labels)
        if classifier.calibration is not None:
            found[classifier.task.name] = classifier.calibration.apply(found[classifier.task.name])
        return found


def is_reentrant(classifier: BaseClassifier[Any]) -> bool:
    """Whether several threads may judge at once, each on a core of its own; torch spreads one call over them."""
    from demur.models import OnnxClassifier

    return isinstance(classifier, OnnxClassifier)


def load_model(folder: Path, name: str, options: LoadOptions | None = None) -> ServedModel:
    """Load a saved model, and judge some texts with it so that its first request is as quick as the others.

    Raises
    ------
    ArtifactError
        A file is missing or altered, or the model gives other probabilities than when it was saved.
    MissingDependencyError
        The family's libraries are not installed.
    """
    from demur.models import load, load_onnx

    options = options or LoadOptions()
    has_onnx = (folder / "onnx").is_dir()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        if options.runtime == "onnx" or (options.runtime == "auto" and has_onnx):
            # One row a pass in each of the batcher's threads: the runner needs none of its own.
            classifier: Any = load_onnx(folder, threads=1)
        else:
            classifier = load(folder)
    for warning in caught:
        _LOG.warning("model %s: %s", name, warning.message)
    model = ServedModel(name, classifier, options)
    if options.languages:
        _ = Texts(_WARM[-1]).language
    model.warm_up(options.batching.max_rows)
    return model
