"""The teacher of a distillation: found or trained, and asked once for its probabilities of the training rows.

References
----------
Hinton et al., "Distilling the Knowledge in a Neural Network", arXiv:1503.02531, section 2.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from demur.data import Records, cross_validate
from demur.errors import ConfigError
from demur.models._artifact import MANIFEST
from demur.models._base import BaseClassifier
from demur.paths import full_disk_as_os_error, hash_value, replace_when_done

if TYPE_CHECKING:
    from demur.models.transformer._config import DistillSettings
    from demur.models.transformer._model import TransformerClassifier


def ask_teacher(student: TransformerClassifier, train: Records, valid: Records | None) -> NDArray[np.float64]:
    """A teacher's probabilities ``(n, k)`` of the training rows.

    With the student's ``checkpoint_folder`` set they are kept there, so that a killed training finds them again.

    Raises
    ------
    ConfigError
        There is no such teacher, it is of another task, or it was trained elsewhere and nobody vouches for it.
    """
    settings = student.config.distill
    assert settings is not None
    kept, key = _kept_in(student, settings, train)
    if kept is not None and kept.is_file():
        with np.load(kept, allow_pickle=False) as found:
            if str(found["key"]) == key:
                probabilities: NDArray[np.float64] = found["probabilities"]
                return probabilities
    probabilities = _judge(student, settings, train, valid)
    if kept is not None:
        with full_disk_as_os_error(), replace_when_done(kept) as part, part.open("wb") as handle:
            np.savez(handle, key=np.array(key), probabilities=probabilities)
    return probabilities


def _judge(
    student: TransformerClassifier, settings: DistillSettings, train: Records, valid: Records | None
) -> NDArray[np.float64]:
    teacher = _find_teacher(student, settings)
    if teacher.fingerprint:  # a saved one, which has learned already
        return teacher.predict_proba(train)
    if not settings.folds:
        return _taught(student, teacher, "teacher", train, valid).predict_proba(train)
    probabilities = np.full((len(train), len(student.task.labels)), np.nan)
    for number, split in enumerate(cross_validate(train, student.task, settings.folds, student.seed)):
        teacher = _taught(
            student, _find_teacher(student, settings), f"teacher-{number}", train.take(split.train), valid
        )
        probabilities[split.test] = teacher.predict_proba(train.take(split.test))
    return probabilities


def _taught(
    student: TransformerClassifier, teacher: BaseClassifier[Any], name: str, train: Records, valid: Records | None
) -> BaseClassifier[Any]:
    if student.checkpoint_folder is not None:
        teacher.checkpoint_folder = student.checkpoint_folder / name
    teacher.companions = student.companions
    return teacher.fit(train, valid if teacher.watches_valid else None)


def _kept_in(student: TransformerClassifier, settings: DistillSettings, train: Records) -> tuple[Path | None, str]:
    if student.checkpoint_folder is None:
        return None, ""
    rows = [train.texts(name) for name in ("prompt", "response")]
    labels = train.targets(student.task).tolist()
    key = hash_value([settings.model_dump(mode="json"), student.seed, rows, labels])
    return student.checkpoint_folder / "teacher.npz", key


def _find_teacher(student: TransformerClassifier, settings: DistillSettings) -> BaseClassifier[Any]:
    named = settings.teacher
    if isinstance(named, str):
        folder = Path(named).expanduser()
        if (folder / MANIFEST).is_file():
            return _load_teacher(student, folder, settings.unseen)
        if folder.is_dir() or "/" in named:
            raise ConfigError(
                f"distill.teacher {named} is no saved model (no {MANIFEST} in it); give the folder of one, or a "
                "preset",
                key="distill.teacher",
            )
        named = {"preset": named}
    return _new_teacher(student, named)


def _load_teacher(student: TransformerClassifier, folder: Path, unseen: bool) -> BaseClassifier[Any]:
    from demur.models._load import load

    if not unseen:
        raise ConfigError(
            f"the teacher in {folder} was trained before; had it seen rows that are held out here, their figures "
            "would be worth nothing. Name a preset or a family instead, which learns from the training rows "
            "alone, or set distill.unseen: true if it saw none of them",
            key="distill.unseen",
        )
    teacher = load(folder)
    if teacher.task.labels != student.task.labels:
        raise ConfigError(
            f"the teacher in {folder} knows the labels {', '.join(teacher.task.labels)}, the task "
            f"'{student.task.name}' has {', '.join(student.task.labels)}; give a teacher of the same task",
            key="distill.teacher",
        )
    return teacher


def _new_teacher(student: TransformerClassifier, named: dict[str, Any]) -> BaseClassifier[Any]:
    from demur.models._presets import find_family

    own = named.get("settings", {})
    family, settings = find_family(named.get("preset"), named.get("family"), own, "distill.teacher")
    return family(student.task, settings, student.seed)
