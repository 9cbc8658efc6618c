"""``transformers.Trainer``, set up to be silent, exact and resumable.

Imported only when a training starts, since the classes below need torch and transformers.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import nn
from transformers import EvalPrediction, PrinterCallback, Trainer, TrainerCallback, TrainerState, TrainingArguments

from demur.errors import TrainingError
from demur.training._balance import WeightController
from demur.training._callbacks import AdaptWeights, GiveBackHeap, PlanValidations, ReportProgress, StopEarly
from demur.training._checkpoint import WEIGHTS_FILE, is_patience_spent, load_weights, prepare_folder, save_weights
from demur.training._data import EpochSampler, PadCollator, TokenDataset
from demur.training._losses import Loss, split_heads, start_alpha
from demur.training._memory import (
    MemoryEstimate,
    check_memory,
    count_parameters,
    estimate_memory,
    full_memory_as_training_error,
    measure_activations,
)
from demur.training._runtime import pick_device
from demur.training._scores import choice_figure, softmax

if TYPE_CHECKING:
    from demur.training._config import TrainConfig
    from demur.training._trainer import TrainSetup

_NEVER = 2**30
"""Steps between the trainer's own validations and checkpoints; ours are planned by ``PlanValidations``."""
_SWITCH = "_checkpointing_"
_SCHEDULERS = {"linear": "linear", "cosine": "cosine", "constant": "constant_with_warmup"}


@dataclass(frozen=True)
class LoopPlan:
    """All that steers one run of the loop."""

    config: TrainConfig
    seed: int
    setup: TrainSetup
    loss: Loss
    fingerprint: str


@dataclass(frozen=True)
class LoopResult:
    """What a run of the loop leaves beside the weights."""

    state: Any
    """The trainer's state: steps, epochs, the log."""
    trajectory: dict[str, Any] | None
    """What adaptive class weights did."""
    memory: MemoryEstimate | None
    """What was reckoned before the first step; None where there was nothing left to do."""


def run_loop(
    module: nn.Module, train: TokenDataset, valid: TokenDataset | None, plan: LoopPlan, folder: Path
) -> LoopResult:
    """Train ``module`` in place, from the newest checkpoint in ``folder`` where there is one.

    Raises
    ------
    TrainingError
        It cannot be trained, or memory will not suffice or did not.
    """
    checkpoint = prepare_folder(folder, plan.fingerprint)
    trainer = ExactTrainer(plan, train, valid, _arguments(plan, folder, valid is not None), module)
    trainer.remove_callback(PrinterCallback)
    memory = None
    with full_memory_as_training_error(trainer.args.device.type):
        if checkpoint is None or not trainer.finish(checkpoint):
            memory = trainer.estimate_memory()
            check_memory(memory)
            with _checkpointed_gradients(module, plan.config):
                trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
    return LoopResult(trainer.state, trainer.adapting.trajectory() if trainer.adapting else None, memory)


class ExactTrainer(Trainer):  # type: ignore[misc]
    """A trainer with our loss, our order of rows, and a stop at the first loss that is no number."""

    # compute_loss returns the mean of its batch.
    loss_is_scaled_for_ga = False

    def __init__(
        self,
        plan: LoopPlan,
        train: TokenDataset,
        valid: TokenDataset | None,
        arguments: TrainingArguments,
        module: nn.Module,
    ) -> None:
        self._plan = plan
        if isinstance(plan.loss, nn.Module):
            plan.loss.to(arguments.device)
        self.adapting = _adapt_weights(plan)
        super().__init__(
            model=module,
            args=arguments,
            data_collator=plan.setup.collator,
            train_dataset=train,
            eval_dataset=valid,
            compute_metrics=self._judge if valid is not None else None,
            callbacks=self._make_callbacks(valid is not None),
        )

    def _make_callbacks(self, validated: bool) -> list[TrainerCallback]:
        config, setup = self._plan.config, self._plan.setup
        found: list[TrainerCallback] = [
            PlanValidations(config.evals_per_epoch, validated, validated or setup.folder is not None),
            GiveBackHeap(),
        ]
        if validated:
            found.append(StopEarly(config.patience))
        if self.adapting is not None:
            found.append(self.adapting)
        if setup.progress is not None:
            found.append(ReportProgress(setup.progress))
        return found

    def finish(self, checkpoint: Path) -> bool:
        """Take over the result of a training that had ended when this checkpoint was written, if it had."""
        state = TrainerState.load_from_json(str(checkpoint / "trainer_state.json"))
        stopped = self.eval_dataset is not None and is_patience_spent(
            state.log_history, self._plan.config.patience
        )
        if state.global_step < state.max_steps and not stopped:
            return False
        self.state = state
        if self.adapting is not None:
            self.adapting.on_train_begin(self.args, state, self.control)
        best = Path(state.best_model_checkpoint) if state.best_model_checkpoint else checkpoint
        load_weights(self.model, best / WEIGHTS_FILE)
        return True

    def estimate_memory(self) -> MemoryEstimate:
        """What this training needs, from the activations of a training row."""
        assert isinstance(self.train_dataset, TokenDataset)
        lengths, collate = self.train_dataset.lengths, self._plan.setup.collator
        row = self.train_dataset[int(lengths.argmax())]

        def make_batch(length: int) -> dict[str, Any]:
            short = row | {"ids": row["ids"][:length], "types": row["types"][:length]}
            batch = PadCollator(collate.pad_id, collate.inputs)([short])
            return {name: batch[name].to(self.args.device) for name in collate.inputs}

        longest = int(lengths.max())
        half = {"bf16": torch.bfloat16, "fp16": torch.float16}.get(pick_precision(self._plan.config))
        with torch.autocast(self.args.device.type, half or torch.bfloat16, enabled=half is not None):
            kept = measure_activations(self.model, make_batch, longest)
        width = max(longest, collate.width or 0)
        return estimate_memory(count_parameters(self.model), self._plan.config, kept, width, loaded=True)

    def compute_loss(
        self,
        model: nn.Module,
        inputs: dict[str, torch.Tensor],
        return_outputs: bool = False,
        num_items_in_batch: Any = None,
    ) -> Any:
        """The plan's loss of one batch."""
        inputs = dict(inputs)
        labels, soft = inputs.pop("labels"), inputs.pop("soft", None)
        logits = model(**inputs)["logits"]
        heads = self._plan.setup.heads
        if heads is not None:
            logits = split_heads(logits, {name: len(task.labels) for name, task in heads.items()})
        loss = self._plan.loss(logits, labels) if soft is None else self._plan.loss(logits, labels, soft)
        if not torch.isfinite(loss):
            raise TrainingError(
                f"the loss became {loss.item()} at step {self.state.global_step + 1}; lower "
                "train.learning_rate (or set train.precision: fp32), and check the model's own weights"
            )
        return (loss, {"logits": logits}) if return_outputs else loss

    def create_optimizer(self, model: Any = None) -> torch.optim.Optimizer:
        """AdamW, with a group of parameters for each factor on the learning rate."""
        rates = self._plan.setup.rates
        if not rates:
            return cast("torch.optim.Optimizer", super().create_optimizer(model))
        decayed = set(self.get_decay_parameter_names(self.model))
        groups: dict[tuple[float, bool], list[nn.Parameter]] = {}
        for name, parameter in self.model.named_parameters():
            if parameter.requires_grad:
                groups.setdefault((rates.get(name, 1.0), name in decayed), []).append(parameter)
        kind, options = self.get_optimizer_cls_and_kwargs(self.args, self.model)
        # The first group's rate is the one that is logged.
        self.optimizer = kind(
            [
                {
                    "params": groups[rate, has_decay],
                    "lr": self.args.learning_rate * rate,
                    "weight_decay": self.args.weight_decay if has_decay else 0.0,
                }
                for rate, has_decay in sorted(groups, reverse=True)
            ],
            **options,
        )
        return cast("torch.optim.Optimizer", self.optimizer)

    def evaluation_loop(self, *given: Any, **named: Any) -> Any:
        """Judge validation rows; adds the figure that chooses, and lets adaptive weights look on."""
        output = super().evaluation_loop(*given, **named)
        metrics = output.metrics
        scores = [row["eval_score"] for row in self.state.log_history if "eval_score" in row]
        metrics["eval_choice"] = choice_figure(
            [*scores, metrics["eval_score"]], metrics["eval_loss"], self._plan.config.choose
        )
        if self.adapting is not None:
            metrics["eval_weights"] = self.adapting.observe(
                output.label_ids, softmax(output.predictions), self.state.global_step
            )
        return output

    def _judge(self, prediction: EvalPrediction) -> dict[str, float]:
        assert self._plan.setup.score is not None
        return {"score": self._plan.setup.score(prediction.label_ids, softmax(prediction.predictions))}

    def _get_train_sampler(self, train_dataset: Any = None) -> Any:
        assert isinstance(self.train_dataset, TokenDataset)
        return EpochSampler(
            self.train_dataset.lengths, self._train_batch_size, self._plan.seed, self._plan.config.bucketing
        )

    def _save(self, output_dir: str | None = None, state_dict: Any = None) -> None:
        folder = Path(output_dir or self.args.output_dir)
        folder.mkdir(parents=True, exist_ok=True)
        save_weights(self.model, folder / WEIGHTS_FILE)

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        load_weights(self.model, Path(resume_from_checkpoint) / WEIGHTS_FILE)

    def _load_best_model(self) -> None:
        load_weights(self.model, Path(self.state.best_model_checkpoint) / WEIGHTS_FILE)


def _adapt_weights(plan: LoopPlan) -> AdaptWeights | None:
    if plan.config.class_weights != "adaptive":
        return None
    setup, losses = plan.setup, plan.loss.class_losses()
    tasks = setup.heads or ({} if setup.task is None else {"": setup.task})
    controllers = {
        name: WeightController(task, plan.config.balance, start_alpha(plan.config, len(task.labels), task))
        for name, task in tasks.items()
    }
    return AdaptWeights(controllers, losses)


@contextmanager
def _checkpointed_gradients(module: nn.Module, config: TrainConfig) -> Iterator[None]:
    """Switch recomputed activations on for a block, in the outermost part of the module that knows how."""
    if not config.gradient_checkpointing:
        yield
        return
    # The older name gives a warning where the newer one is there.
    names = ("activation", "gradient")
    found = (
        (part, name) for part in module.modules() for name in names if hasattr(part, f"{name}{_SWITCH}enable")
    )
    able, name = next(found, (None, ""))
    if able is None:
        raise TrainingError(
            "gradient_checkpointing is on, but this model has no part that can do it; "
            "leave it out, or lower train.batch_size and raise train.accumulate to save memory"
        )
    getattr(able, f"{name}{_SWITCH}enable")(**{f"{name}_checkpointing_kwargs": {"use_reentrant": False}})
    try:
        yield
    finally:
        getattr(able, f"{name}{_SWITCH}disable")()


def _arguments(plan: LoopPlan, folder: Path, validated: bool) -> TrainingArguments:
    config = plan.config
    kept = "steps" if plan.setup.folder else "best" if validated else "no"
    precision = pick_precision(config)
    return TrainingArguments(
        output_dir=str(folder),
        num_train_epochs=config.epochs,
        per_device_train_batch_size=config.batch_size,
        per_device_eval_batch_size=max(config.batch_size, 32),
        gradient_accumulation_steps=config.accumulate,
        learning_rate=config.learning_rate,
        weight_decay=config.weight_decay,
        warmup_steps=config.warmup_share,
        max_grad_norm=config.max_gradient,
        lr_scheduler_type=_SCHEDULERS[config.scheduler],
        optim="adamw_torch_fused",
        bf16=precision == "bf16",
        fp16=precision == "fp16",
        use_cpu=pick_device(config.device).type == "cpu",
        seed=plan.seed,
        data_seed=plan.seed,
        eval_strategy="steps" if validated else "no",
        eval_steps=_NEVER,
        save_strategy=kept,
        save_steps=_NEVER,
        # Nobody can resume from a temporary folder.
        save_only_model=plan.setup.folder is None,
        # With 1, the trainer deletes the last checkpoint at the end, and a finished training looks unfinished.
        save_total_limit=2,
        load_best_model_at_end=validated,
        metric_for_best_model="choice" if validated else None,
        greater_is_better=True if validated else None,
        logging_strategy="no",
        logging_nan_inf_filter=False,
        log_level="error",
        disable_tqdm=True,
        report_to="none",
        remove_unused_columns=False,
        label_names=["labels"],
        dataloader_pin_memory=False,
    )


def pick_precision(config: TrainConfig) -> str:
    """The arithmetic of a training: ``fp32``, ``bf16`` or ``fp16``.

    Raises
    ------
    TrainingError
        fp16 without a GPU.
    """
    device = pick_device(config.device).type
    if config.precision == "fp16" and device != "cuda":
        raise TrainingError("precision fp16 needs a CUDA GPU, and none is used; set train.precision: auto or bf16")
    if config.precision != "auto":
        return config.precision
    return "bf16" if device == "cuda" and torch.cuda.is_bf16_supported() else "fp32"
