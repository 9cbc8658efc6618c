"""The dual family: one pre-trained encoder, fine-tuned to answer several tasks in one pass."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from demur.config import parse_settings
from demur.data import Records
from demur.errors import ArtifactError, ConfigError, require
from demur.models._base import Predictions, Probabilities, RecordsLike
from demur.models._pretrained import input_names, load_tokenizer
from demur.models._several import answer_all, count_classes, predict_all, softmax
from demur.models._torch import TokenizedClassifier
from demur.models.dual._config import DualConfig
from demur.models.dual._train import fit_dual
from demur.paths import full_disk_as_os_error, write_json
from demur.tasks import Task
from demur.training import pick_device

if TYPE_CHECKING:
    from demur.models.dual._module import SharedEncoder

TASKS_FILE = "tasks.json"


class DualClassifier(TokenizedClassifier[DualConfig]):
    """One pre-trained encoder with a linear layer for each of several tasks, fine-tuned together.

    The classifier's own task is what ``predict_proba`` answers; ``predict_all`` answers all, from one pass.
    The others and their training rows are set as ``companions`` before ``fit``. A row may have a label of one
    task or of several. Without companions it is an ordinary fine-tuned classifier.
    """

    family: ClassVar[str] = "dual"
    config_type = DualConfig
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {"minilm_dual": {"model": "embedded:minilm"}}
    search_space: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "train.learning_rate": {"low": 1e-5, "high": 2e-4, "log": True},
        "train.epochs": {"low": 2, "high": 6, "int": True},
        "train.batch_size": {"choices": [8, 16, 32]},
        "layer_decay": {"choices": [0.8, 0.9, 1.0]},
        "balance_tasks": {"choices": [False, True]},
    }
    wants_valid: ClassVar[bool] = True
    wants_companions: ClassVar[bool] = True

    def __init__(self, task: Task, config: DualConfig | None = None, seed: int = 0) -> None:
        super().__init__(task, config, seed)
        self.tasks: tuple[Task, ...] = (task,)
        """The tasks it answers, its own first; known after ``fit`` or loading."""

    def input_names(self) -> tuple[str, ...]:
        """The tensors the module takes."""
        return input_names(self.module.encoder, self._tokenizer)

    def attach(self, module: SharedEncoder, tokenizer: Any, tasks: Sequence[Task]) -> None:
        """Use this module and tokenizer for these tasks from now on."""
        self._attach(module, tokenizer)
        self.tasks = tuple(tasks)

    def predict_all(self, records: RecordsLike) -> dict[str, Predictions]:
        """Judge records on every task at once, by task name; one pass of the encoder.

        Texts are repaired as in ``predict``. Calibration, operating points and abstention are those of its own
        task; the other tasks' probabilities are the model's own.

        Raises
        ------
        UsageError
            Neither fitted nor loaded.
        """
        return predict_all(self, records)

    def all_proba(self, records: Records) -> dict[str, Probabilities]:
        """Class probabilities ``(n, k)`` of every task, by its name; its own calibrated."""
        return answer_all(self, self.tasks, self.joint_proba(records))

    def joint_proba(self, records: Records) -> Probabilities:
        """The model's own class probabilities of all tasks side by side, ``(n, Σk)``, none calibrated."""
        sizes = count_classes(self.tasks)
        return softmax(self._logits(records), sizes) if len(records) else np.empty((0, sum(sizes)))

    def _fit(self, train: Records, targets: NDArray[np.int64], valid: Records | None) -> None:
        require("torch", extra="torch")
        self.training = fit_dual(self, train, valid)
        self.module.to(pick_device(self.config.train.device)).eval()

    def _predict(self, records: Records) -> NDArray[np.floating[Any]]:
        return self.joint_proba(records)[:, : len(self.task.labels)]

    def _write(self, folder: Path) -> None:
        from demur.models.dual._module import save_module

        with full_disk_as_os_error():
            save_module(self.module, folder, self.tasks)
            self.tokenizer.save_pretrained(str(folder))
        write_json(folder / TASKS_FILE, [task.model_dump(mode="json") for task in self.tasks])

    def _read(self, folder: Path) -> None:
        require("torch", extra="torch")
        require("transformers", extra="torch")
        from demur.models.dual._module import load_saved_module

        tasks = _read_tasks(folder / TASKS_FILE, self.task)
        self.attach(load_saved_module(folder, self.config, tasks), load_tokenizer(folder), tasks)
        self.module.to(pick_device(self.config.train.device)).eval()


def _read_tasks(path: Path, own: Task) -> list[Task]:
    """The tasks of a saved model, its own first."""
    try:
        listed = json.loads(path.read_text(encoding="utf-8"))
        tasks = [parse_settings(Task, values, str(path)) for values in listed]
    except (ValueError, TypeError, ConfigError) as error:
        raise ArtifactError(f"{path} is damaged ({error}); restore the file or train again") from None
    if not tasks or tasks[0] != own:
        raise ArtifactError(
            f"{path} does not begin with the task '{own.name}' that the model was saved for; restore the file or "
            "train again"
        )
    return tasks
