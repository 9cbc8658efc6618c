"""How a model was trained, as files: its learning curve, and how its class weights moved."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from demur.models import BaseClassifier
from demur.paths import write_json


@dataclass(frozen=True)
class CurveFiles:
    """Where the curves of one model lie."""

    curve: Path
    alpha: Path

    def remove(self) -> None:
        """Forget an earlier fit's."""
        for path in (self.curve, self.alpha):
            path.unlink(missing_ok=True)

    def write(self, classifier: BaseClassifier[Any], name: str) -> None:
        """Write what the classifier's last fit left, in place of an earlier fit's."""
        self.remove()
        training = classifier.training
        if training is not None:
            write_json(
                self.curve,
                {
                    "task": classifier.task.name,
                    "model": name,
                    "seed": classifier.seed,
                    "best_epoch": training.best_epoch,
                    "epochs": training.epochs,
                    "steps": training.steps,
                    "seconds": training.seconds,
                    "history": training.history,
                },
            )
        moved = getattr(classifier, "alpha_trajectory", None) or getattr(training, "alpha_trajectory", None)
        if moved:
            # A model with several heads has a trajectory for each task.
            write_json(self.alpha, moved.get(classifier.task.name, moved))
