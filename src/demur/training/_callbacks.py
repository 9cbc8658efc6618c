"""What happens between steps: when to validate, when to stop, what to tell, what adaptive weights remember.

Imported only when a training starts, since transformers is needed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from transformers import TrainerCallback
from transformers.trainer_callback import ExportableState

from demur.engine import give_back_heap
from demur.training._balance import WeightController
from demur.training._checkpoint import is_patience_spent
from demur.training._losses import ClassLoss
from demur.training._trainer import Progress


class StopEarly(TrainerCallback):  # type: ignore[misc]
    """Stops after ``patience`` validations without a better one; reads it off the log, so a resume knows."""

    def __init__(self, patience: int) -> None:
        self._patience = patience

    def on_evaluate(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Look at the log after a validation."""
        if is_patience_spent(state.log_history, self._patience):
            control.should_training_stop = True


class PlanValidations(TrainerCallback):  # type: ignore[misc]
    """Logs, validates and saves several times an epoch, the last time at its end.

    Parameters
    ----------
    times
        How often in an epoch; an epoch with fewer steps has one after each.
    validates, saves
        Which of the two is done.
    """

    def __init__(self, times: int, validates: bool, saves: bool) -> None:
        self._times = times
        self._validates = validates
        self._saves = saves

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """After a step of the optimiser."""
        steps = max(1, round(state.max_steps / args.num_train_epochs))
        marks = {max(1, round(steps * number / self._times)) for number in range(1, self._times + 1)}
        if (state.global_step - 1) % steps + 1 in marks:
            control.should_log = True
            control.should_evaluate = self._validates
            control.should_save = self._saves


class ReportProgress(TrainerCallback):  # type: ignore[misc]
    """Tells the caller where the training stands."""

    def __init__(self, report: Callable[[Progress], None]) -> None:
        self._report = report

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """After a step."""
        self._tell(state)

    def on_evaluate(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """After a validation."""
        self._tell(state)

    def _tell(self, state: Any) -> None:
        scores = [row["eval_score"] for row in state.log_history if "eval_score" in row]
        self._report(
            Progress(state.global_step, state.max_steps, float(state.epoch or 0), scores[-1] if scores else None)
        )


class GiveBackHeap(TrainerCallback):  # type: ignore[misc]
    """Hands freed memory back now and then; batches of many lengths leave gigabytes that fit no later one."""

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """After a step of the optimiser."""
        give_back_heap(state.global_step)


class AdaptWeights(TrainerCallback, ExportableState):  # type: ignore[misc]
    """Lets controllers watch the validations, and multiplies the losses' weights by their alpha.

    What the controllers remember is in every checkpoint's ``trainer_state.json``.

    Parameters
    ----------
    controllers
        A controller for each head; the only one is called ``""``.
    losses
        The losses that follow them, their weights already times the alpha the controllers start with.
    """

    def __init__(self, controllers: Mapping[str, WeightController], losses: Mapping[str, ClassLoss]) -> None:
        self._controllers = controllers
        self._losses = losses
        self._bases = {name: losses[name].weights.cpu().numpy() / one.weights for name, one in controllers.items()}

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Go on from the checkpoint's state."""
        found = state.stateful_callbacks.get(type(self).__name__) or {}
        for name, known in found.get("attributes", {}).items():
            self._controllers[name].restore(known)
        self._follow()

    def state(self) -> dict[str, Any]:
        """What the controllers remember."""
        return {"args": {}, "attributes": {name: one.state() for name, one in self._controllers.items()}}

    def observe(self, targets: Any, probabilities: Any, step: int) -> Any:
        """Look at a validation; the alpha that was in force until now comes back, as in a history."""
        before = {name: one.weights.tolist() for name, one in self._controllers.items()}
        for column, (name, controller) in enumerate(self._controllers.items()):
            true = targets if name == "" else targets[:, column]
            found = probabilities if name == "" else probabilities[name]
            known = np.asarray(true) >= 0
            if known.any():
                controller.observe(true[known], found[known].argmax(axis=1), step)
        self._follow()
        return before.get("", before)

    def trajectory(self) -> dict[str, Any]:
        """The controller's trajectory; with heads, one for each."""
        found = {name: one.trajectory() for name, one in self._controllers.items()}
        return found.get("", found)

    def _follow(self) -> None:
        for name, controller in self._controllers.items():
            self._losses[name].set_weights(self._bases[name] * controller.weights)
