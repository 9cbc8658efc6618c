"""``transformers.Trainer`` around a breaker: its schedule, exact splits of a step, validations, checkpoints.

Imported only when a training starts. Which engine runs it is said by accelerate's own launcher and settings: one
that keeps every weight whole on every process, or FSDP2 (see ``_sharded``); ``_engine`` refuses the others.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from accelerate.utils import broadcast_object_list  # type: ignore[import-untyped]
from torch.utils.data import SequentialSampler
from transformers import PrinterCallback, Trainer, TrainerCallback, TrainerState, TrainingArguments

from demur.errors import TrainingError
from demur.harden._checkpoint import (
    OPTIMIZER_FILE,
    WEIGHTS_FILE,
    load_optimizer,
    load_weights,
    save_optimizer,
    save_weights,
)
from demur.harden._schedule import schedule_losses
from demur.harden._sharded import is_sharded, open_inside, settle_plugin
from demur.harden._validate import Validation, is_enough
from demur.training import GiveBackHeap, prepare_folder, seeded

if TYPE_CHECKING:
    from demur.harden._config import HardenConfig
    from demur.harden._module import BreakerModule
    from demur.harden._pairs import PairCollator, PairDataset

_NEVER = 2**30
_VALIDATION = "eval_breaker"


@dataclass(frozen=True)
class LoopPlan:
    """All that steers a run of the loop."""

    config: HardenConfig
    fingerprint: str
    """Of everything that decides its course."""
    validate: Callable[[int], Validation]
    """Measures held-out rows after a step."""
    progress: Callable[[int, int], None] | None = None
    """Told the step and the number of steps."""
    settle: Callable[[bool], None] | None = None
    """Measures what a step needs, once the module is where the engine wants it; told whether a training begins,
    and does not go on from a checkpoint."""

    def settle_module(self, is_new: bool) -> None:
        """Call :attr:`settle`, whose random draws change none of the training's."""
        if self.settle is not None:
            with seeded(self.config.seed):
                self.settle(is_new)


def make_arguments(config: HardenConfig, folder: Path) -> TrainingArguments:
    """The trainer's arguments; makes torch join the other processes where there are any.

    Raises
    ------
    TrainingError
        The rows of a step cannot be shared equally by the processes.
    """
    arguments = TrainingArguments(
        output_dir=str(folder),
        max_steps=config.steps,
        gradient_accumulation_steps=config.accumulate,
        learning_rate=config.learning_rate,
        weight_decay=0.0,
        max_grad_norm=config.max_gradient,
        lr_scheduler_type="constant",
        optim="adamw_torch",
        bf16=config.precision == "bf16" or (config.precision == "auto" and _has_bf16(config)),
        use_cpu=config.target.device == "cpu" or not torch.cuda.is_available(),
        seed=config.seed,
        data_seed=config.seed,
        eval_strategy="no",
        save_strategy="steps",
        save_steps=_NEVER,
        save_total_limit=2,
        logging_strategy="steps",
        logging_steps=1,
        logging_nan_inf_filter=False,
        log_level="error",
        disable_tqdm=True,
        report_to="none",
        remove_unused_columns=False,
        label_names=["units"],
        ddp_find_unused_parameters=False,
        dataloader_pin_memory=False,
    )
    if arguments.n_gpu > 1:
        # Several GPUs in one process would split a batch behind the losses' back; a launcher starts one each.
        arguments._n_gpu = 1
    parts = config.accumulate * arguments.world_size
    if config.batch_size % parts:
        raise TrainingError(
            f"batch_size {config.batch_size} cannot be shared by {arguments.world_size} processes of "
            f"{config.accumulate} passes each; make it a multiple of {parts}"
        )
    arguments.per_device_train_batch_size = config.batch_size // parts
    return arguments


def _has_bf16(config: HardenConfig) -> bool:
    return config.target.device != "cpu" and torch.cuda.is_available() and torch.cuda.is_bf16_supported()


def run_loop(
    module: BreakerModule, data: PairDataset, collator: PairCollator, arguments: TrainingArguments, plan: LoopPlan
) -> TrainerState:
    """Train adapters in place, from the newest checkpoint in the folder where there is one.

    Parameters
    ----------
    module
        Ends with the weights of the last step.
    data, collator
        Pairs in the order of training.
    arguments
        See :func:`make_arguments`.
    plan
        Settings, validation, progress.

    Raises
    ------
    TrainingError
        The loss is no number any more.
    """
    # A folder for each training: one of other settings leaves this one's checkpoints alone.
    folder = Path(arguments.output_dir) / plan.fingerprint[:16]
    arguments.output_dir = str(folder)
    checkpoint = _find_checkpoint(folder, arguments, plan)
    trainer = BreakerTrainer(module, data, collator, arguments, plan)
    trainer.remove_callback(PrinterCallback)
    trainer.add_callback(GiveBackHeap())
    if not trainer.is_fsdp_enabled:
        module.to(arguments.device)
        plan.settle_module(checkpoint is None)
    if checkpoint is None or not trainer.finish(checkpoint):
        trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
    return trainer.state


def _find_checkpoint(folder: Path, arguments: TrainingArguments, plan: LoopPlan) -> Path | None:
    """What the first process finds there, told to all others; it alone clears away what is half."""
    found: list[Path | None] = [None]
    if arguments.process_index == 0:
        folder.mkdir(parents=True, exist_ok=True)
        found = [prepare_folder(folder, plan.fingerprint)]
    return broadcast_object_list(found)[0] if arguments.world_size > 1 else found[0]


class BreakerTrainer(Trainer):  # type: ignore[misc]
    """A trainer whose loss is divided by the tokens of the whole step, over all passes and processes."""

    control: Any
    model: Any
    optimizer: Any
    # compute_loss divides by what all passes of a step hold.
    loss_is_scaled_for_ga = True

    def __init__(
        self,
        module: BreakerModule,
        data: PairDataset,
        collator: PairCollator,
        arguments: TrainingArguments,
        plan: LoopPlan,
    ) -> None:
        self._plan = plan
        super().__init__(
            model=module,
            args=arguments,
            data_collator=collator,
            train_dataset=data,
            callbacks=[FollowPlan(plan)],
        )
        if self.is_fsdp_enabled:
            settle_plugin(self.accelerator.state.fsdp_plugin, module)
        self._parts = torch.zeros(2, device=self.args.device)

    def finish(self, checkpoint: Path) -> bool:
        """Take over the result of a training that had ended when this checkpoint was written, if it had."""
        state = TrainerState.load_from_json(str(checkpoint / "trainer_state.json"))
        if state.global_step < state.max_steps and not is_enough(read_validations(state), self._plan.config.stop):
            return False
        self.state = state
        if self.is_fsdp_enabled:
            # The trainer splits a module that it trains; what is left to do here needs it split as well.
            self.create_optimizer()
            self.model, self.optimizer = self.accelerator.prepare(self.model, self.optimizer)
            open_inside(self.model)
            self._plan.settle_module(False)
        self._load_from_checkpoint(str(checkpoint))
        return True

    def get_batch_samples(
        self, epoch_iterator: Iterator[Any], num_batches: int, device: torch.device
    ) -> tuple[list[Any], torch.Tensor | None]:
        """The passes of a step, and what all of them, in all processes, divide the two losses by."""
        batches = list(islice(epoch_iterator, num_batches))
        if not batches:
            return batches, None
        units = torch.stack([batch["units"].to(device) for batch in batches]).sum(dim=0)
        return batches, self.accelerator.reduce(units, reduction="sum")

    def compute_loss(
        self, model: Any, inputs: dict[str, Any], return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        """The loss of a pass; passes of a step, and processes, add up to the loss of the step."""
        config = self._plan.config
        factors = schedule_losses(self.state.global_step + 1, config.steps, config.alpha)
        wanted = torch.tensor([factors.breaker, factors.retain * config.retain_weight], dtype=torch.float64)
        weights = (wanted.to(num_items_in_batch.device) / num_items_in_batch).float()
        given = {name: value for name, value in inputs.items() if name != "units"}
        found = model(**given, weights=weights)
        self._check_finite(found["loss"].detach())
        self._parts += torch.stack([found["breaker"], found["retain"]]).float()
        # Engines average the gradients of their processes; a step wants their sum.
        loss = found["loss"] * self.accelerator.num_processes
        return (loss, found) if return_outputs else loss

    def _check_finite(self, loss: torch.Tensor) -> None:
        """End the run in all processes at once where one of them has no number: the others would wait for it."""
        is_off = (~loss.isfinite()).to(torch.int32)
        if self.accelerator.num_processes > 1:
            is_off = self.accelerator.reduce(is_off, reduction="sum")
        if int(is_off):
            raise TrainingError(
                f"the loss became NaN or infinite at step {self.state.global_step + 1}; lower learning_rate (or "
                "set precision: fp32), and check the model's own weights"
            )

    def log(self, logs: dict[str, Any], start_time: float | None = None) -> None:
        """Keep the log; a step's entry also has both losses, each times its coefficient."""
        if "loss" in logs:
            breaker, retain = self.accelerator.reduce(self._parts, reduction="sum").tolist()
            logs = logs | {"breaker": breaker, "retain": retain}
            self._parts.zero_()
        super().log(logs, start_time)

    def evaluate(self, *_given: Any, **_named: Any) -> dict[str, Any]:
        """Measure held-out rows; every process measures all of them."""
        metrics = {_VALIDATION: self._plan.validate(self.state.global_step).to_json()}
        self.log(metrics)
        self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, metrics)
        return metrics

    def _get_train_sampler(self, train_dataset: Any = None) -> Any:
        return SequentialSampler(train_dataset if train_dataset is not None else self.train_dataset)

    def save_model(self, output_dir: str | None = None, _internal_call: bool = False) -> None:
        """Save what is trained; where weights are split all processes must call it, and one writes."""
        if self.is_fsdp_enabled:
            # Not the whole base, of which each checkpoint would have a copy.
            self._save(output_dir)
        else:
            super().save_model(output_dir, _internal_call)

    def _save(self, output_dir: str | None = None, state_dict: Any = None) -> None:
        folder = Path(output_dir or self.args.output_dir)
        save_weights(self.model, folder / WEIGHTS_FILE, self.args.should_save)

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        load_weights(self.model, Path(resume_from_checkpoint) / WEIGHTS_FILE)

    def _save_optimizer_and_scheduler(self, output_dir: str) -> None:
        if self.is_deepspeed_enabled:
            super()._save_optimizer_and_scheduler(output_dir)
        elif self.is_fsdp_enabled or self.args.should_save:
            # The learning rate is constant: there is nothing to keep of its schedule.
            save_optimizer(self.optimizer, Path(output_dir) / OPTIMIZER_FILE, self.args.should_save)

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        own = Path(checkpoint or "none") / OPTIMIZER_FILE
        if own.is_file():
            load_optimizer(self.optimizer, own)
        elif self.is_fsdp_enabled:
            raise TrainingError(
                f"the checkpoint {own.parent.name} was written by an earlier demur and cannot be split; delete "
                "its folder to start over, or end the run without FSDP2"
            )
        else:
            super()._load_optimizer_and_scheduler(checkpoint)


class FollowPlan(TrainerCallback):  # type: ignore[misc]
    """Validates, saves, stops and tells as planned; what it needs to know stands in the trainer's state.

    Parameters
    ----------
    plan
        How often, and when it is enough.
    """

    def __init__(self, plan: LoopPlan) -> None:
        self._plan = plan

    def on_train_begin(self, args: Any, state: Any, control: Any, model: Any = None, **_: Any) -> None:
        """Once the engine has the module: where weights are split, only now can a forward pass be made."""
        if is_sharded(model):
            open_inside(model)
            self._plan.settle_module(state.global_step == 0)

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """After a step of the optimiser."""
        config, step = self._plan.config, state.global_step
        is_last = step >= state.max_steps
        control.should_evaluate = is_last or step % config.evaluate_every == 0
        control.should_save = is_last or step % config.checkpoint_every == 0
        if self._plan.progress is not None:
            self._plan.progress(step, state.max_steps)

    def on_evaluate(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """After a validation: an early end is saved like any other."""
        if is_enough(read_validations(state), self._plan.config.stop):
            control.should_training_stop = True
            control.should_save = True


def read_validations(state: TrainerState) -> list[Validation]:
    """All validations in a trainer's log."""
    return [Validation.from_json(entry[_VALIDATION]) for entry in state.log_history if _VALIDATION in entry]
