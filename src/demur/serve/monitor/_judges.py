"""Judges of sampled rows: a stronger classifier, or anybody's plug-in; what they cannot judge is unscored."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from demur.errors import ConfigError, DemurError
from demur.registry import Registry
from demur.serve.monitor._config import JudgeConfig
from demur.tasks import Task

if TYPE_CHECKING:
    from demur.models import BaseClassifier


@dataclass(frozen=True, slots=True)
class JudgedText:
    """A row that is to be judged."""

    prompt: str | None
    response: str | None


@dataclass(frozen=True, slots=True)
class JudgeVerdict:
    """What a judge says of a row: a label of the task, or None with the reason why there is none."""

    label: str | None
    reason: str | None = None


@runtime_checkable
class Judge(Protocol):
    """Someone who says which label of a task a row has."""

    name: str

    def judge(self, task: Task, rows: Sequence[JudgedText]) -> Sequence[str | None]:
        """A label for each row, None for one that cannot be judged; may raise what one of them brought about."""
        ...


JUDGES: Registry[Callable[[], Judge]] = Registry("judge")
"""What makes a judge, by name, under ``demur.judges``."""
Charge = Callable[[int], int]
"""Takes so many rows from what a judge may still be given, or gives them back; how many it took."""


class ClassifierJudge:
    """A saved classifier that is better than the champion, if slower; it abstains where it is unsure.

    Parameters
    ----------
    folder
        Where it was saved.
    """

    def __init__(self, folder: Path) -> None:
        self.folder, self.name = folder, f"classifier {folder.name}"

    @cached_property
    def _classifier(self) -> BaseClassifier[Any]:
        from demur.models import load

        return load(self.folder)

    def judge(self, task: Task, rows: Sequence[JudgedText]) -> list[str | None]:
        """Labels, None where the classifier abstains.

        Raises
        ------
        ConfigError
            It is of another task.
        ArtifactError
            It cannot be loaded.
        """
        own = self._classifier.task
        if set(own.labels) != set(task.labels):
            raise ConfigError(
                f"the judge in {self.folder} answers task '{own.name}', whose labels are not those of "
                f"'{task.name}'; give a classifier of that task",
                key="monitor.escalation.judge.model",
            )
        found = self._classifier.predict([{"prompt": one.prompt, "response": one.response} for one in rows])
        doubts = found.unsure.tolist() if found.conformal is not None else [False] * len(rows)
        return [None if doubt else label for label, doubt in zip(found.labels, doubts, strict=True)]


def make_judge(config: JudgeConfig) -> Judge | None:
    """The judge of a configuration; None where people judge. A classifier is loaded when it first judges.

    Raises
    ------
    RegistryError
        No judge of that name is registered, or it cannot be imported.
    """
    if config.kind == "people":
        return None
    if config.kind == "classifier":
        return ClassifierJudge(Path(str(config.model)).expanduser())
    return JUDGES.get(str(config.name))()


def judge_texts(judge: Judge, task: Task, rows: Sequence[JudgedText], charge: Charge) -> list[JudgeVerdict]:
    """A verdict on each row; one that brings the judge down is unscored, and the others are judged.

    They are found by halves, so that a row may be given to the judge several times.

    Parameters
    ----------
    rows
        Charged already.
    charge
        Called with rows that are to be given again: how many of them may be, where others stay unscored; and with
        less than 0 for rows that a judge that cannot work did not take.

    Raises
    ------
    DemurError
        The judge cannot work at all, whatever the rows; repair it.
    """
    if not rows:
        return []
    try:
        labels = list(judge.judge(task, rows))
    except DemurError:
        charge(-len(rows))
        raise
    except Exception as error:
        failed = JudgeVerdict(None, f"the judge ended with {type(error).__name__}")  # its message may quote a row
        if len(rows) == 1:
            return [failed]
        middle = len(rows) // 2
        found: list[JudgeVerdict] = []
        for half in (rows[:middle], rows[middle:]):
            allowed = charge(len(half))
            found += judge_texts(judge, task, half[:allowed], charge) + [failed] * (len(half) - allowed)
        return found
    if len(labels) != len(rows):
        raise ConfigError(
            f"the judge '{judge.name}' gave {len(labels)} labels for {len(rows)} rows; repair it",
            key="monitor.escalation.judge",
        )
    return [_check(label, task) for label in labels]


def _check(label: str | None, task: Task) -> JudgeVerdict:
    if label is None:
        return JudgeVerdict(None, "the judge abstained")
    return (
        JudgeVerdict(label) if label in task.labels else JudgeVerdict(None, "the judge gave no label of the task")
    )
