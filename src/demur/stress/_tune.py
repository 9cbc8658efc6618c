"""Fine-tuning that stops at each stage to be looked at.

The loop is our own, not ``transformers.Trainer``: a stage is handed out while the model is in force, and training
goes on when the next one is asked for, which a loop that calls back cannot do. It is plain besides: AdamW at a
constant rate without decay, so that a stage at step 500 of 2,000 is a run of 500 steps; dropout off, so that
nothing is random but what the seed draws before the first step.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from demur.engine import give_back_heap
from demur.errors import TrainingError
from demur.llm import Conversation, Target, full_memory_as_error
from demur.paths import hash_value
from demur.stress._flops import Pass, reckon_flops
from demur.stress._protocol import Cost, Setting, Stage
from demur.stress._tune_config import TuneConfig
from demur.stress._tune_folder import TuneFolder
from demur.stress._tune_rows import TuneRows, put_identity

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Tuned:
    """What is trained, and how its weights are kept."""

    target: Target
    """Around the module that is trained."""
    parameters: Mapping[str, torch.nn.Parameter]
    """Those that are trained, by name."""
    passes: Pass
    """What a token costs."""
    learning_rate: float
    save: Callable[[Path], None] | None = None
    """Writes the weights of a stage into a folder that is not there yet; None keeps no stage."""
    load: Callable[[Path], None] | None = None
    """Reads them back."""
    facts: tuple[Any, ...] = ()
    """What else decides its course, fit for JSON."""


class Tuning:
    """A fine-tuning at some step.

    Parameters
    ----------
    tuned
        Its parameters are changed in place.
    rows
        What on.
    config
        Clipping, and how often a state is kept.
    folder
        Where it is kept.
    """

    def __init__(self, tuned: Tuned, rows: TuneRows, config: TuneConfig, folder: TuneFolder) -> None:
        self._tuned, self._rows, self._config, self._folder = tuned, rows, config, folder
        self._first = {name: one.detach().to("cpu", copy=True) for name, one in tuned.parameters.items()}
        self._begin()

    def _begin(self) -> None:
        import torch

        self._step: int | None = 0
        self.seconds, self.loss = 0.0, float("nan")
        self._optimizer = torch.optim.AdamW(
            list(self._tuned.parameters.values()), lr=self._tuned.learning_rate, weight_decay=0.0
        )

    def leave(self) -> None:
        """Say that other weights were put in the place of those that are trained."""
        self._step = None

    def go_to(self, step: int) -> None:
        """Train up to a step, from where it stands, from the kept state, or from the start.

        Raises
        ------
        TrainingError
            The loss is no number any more.
        NoMemoryError
            Memory ran out.
        """
        kept = self._folder.state_step
        if kept is not None and kept <= step and (self._step is None or self._step > step or kept > self._step):
            self._load(kept)
        elif self._step is None or self._step > step:
            self._put(self._first)
            self._begin()
        assert self._step is not None
        while self._step < step:
            begun = time.perf_counter()
            with full_memory_as_error("fine-tuning", "lower the attack's batch_size or max_tokens"):
                self.loss = self._train(self._step + 1)
            self._step += 1
            give_back_heap(self._step)
            self.seconds += time.perf_counter() - begun
            if self._step % self._config.checkpoint_every == 0:
                self.keep()

    def keep(self) -> None:
        """Keep the state, unless a later one is kept.

        Raises
        ------
        StorageError
            The disk is full or not writable.
        """
        kept = self._folder.state_step
        if self._step is None or (kept is not None and kept >= self._step):
            return
        weights = {name: one.detach().cpu() for name, one in self._tuned.parameters.items()}
        state = {"weights": weights, "optimizer": self._optimizer.state_dict()}
        self._folder.save_state(self._step, state, {"seconds": self.seconds, "loss": _plain(self.loss)})

    def _load(self, step: int) -> None:
        state, notes = self._folder.load_state()
        self._begin()
        self._put(state["weights"])
        self._optimizer.load_state_dict(state["optimizer"])
        self._step, self.seconds = step, float(notes["seconds"])
        self.loss = float("nan") if notes["loss"] is None else float(notes["loss"])

    def _put(self, weights: Mapping[str, torch.Tensor]) -> None:
        import torch

        with torch.no_grad():
            for name, one in self._tuned.parameters.items():
                one.copy_(weights[name])

    def _train(self, step: int) -> float:
        import torch

        batch = [self._rows.rows[number] for number in self._rows.batch(step)]
        loss = answer_loss(self._tuned.target.module, batch, self._tuned.target.pad_id)
        if not bool(loss.isfinite()):
            raise TrainingError(f"the loss became {loss.item()} at step {step}; lower the attack's learning_rate")
        self._optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(list(self._tuned.parameters.values()), self._config.max_gradient)
        self._optimizer.step()
        self._optimizer.zero_grad(set_to_none=True)
        return float(loss.detach())


def answer_loss(module: Any, batch: list[Any], pad: int) -> torch.Tensor:
    """Mean negative log-likelihood of the assistant's tokens of a batch of rows.

    Parameters
    ----------
    module
        A causal language model.
    batch
        Rows as :meth:`demur.llm.Target.encode` gives them.
    pad
        Token to pad with.
    """
    import torch

    width = max(len(row) for row in batch)
    ids = torch.full((len(batch), width), pad, dtype=torch.long)
    said = torch.zeros((len(batch), width), dtype=torch.bool)
    for place, row in enumerate(batch):
        ids[place, : len(row)] = torch.from_numpy(row.ids).long()
        said[place, : len(row)] = torch.from_numpy(row.assistant)
    ids, said = ids.to(module.device), said.to(module.device)
    # Padding comes after all that is scored: under causal attention no mask is needed.
    with torch.autocast(ids.device.type, torch.bfloat16, enabled=ids.device.type == "cuda"):
        logits = module(input_ids=ids, use_cache=False).logits  # (batch, tokens, vocabulary)
    scored = said[:, 1:]
    return torch.nn.functional.cross_entropy(logits[:, :-1][scored].float(), ids[:, 1:][scored])


def tune_stages(tuned: Tuned, rows: TuneRows, config: TuneConfig, setting: Setting) -> Iterator[Stage]:
    """Train, and yield the model at each step that is to be looked at.

    A stage whose weights are kept is put back, not trained again; a state that is kept is gone on from.

    Parameters
    ----------
    tuned
        What is trained.
    rows
        What on.
    config
        The steps.
    setting
        Folder, and which stages were measured before.

    Yields
    ------
    Stage
        With the cost up to it.
    """
    fingerprint = _fingerprint(tuned, rows, config)
    folder = TuneFolder(setting.folder, fingerprint)
    tuning = Tuning(tuned, rows, config, folder)
    trainable = sum(one.numel() for one in tuned.parameters.values())
    for step in config.steps:
        kept: tuple[Path | None, dict[str, Any]] | None = folder.stage(step)
        if kept is None and (step, "") not in setting.done:
            tuning.go_to(step)
            kept = _keep_stage(tuned, tuning, folder, step)
        elif kept is not None and (step, "") not in setting.done:
            assert tuned.load is not None
            assert kept[0] is not None
            tuned.load(kept[0])
            tuning.leave()
        path, notes = kept or (None, {"seconds": 0.0})
        tokens = rows.tokens(step)
        yield Stage(
            tuned.target,
            step,
            Cost(
                flops=reckon_flops(tuned.target.module, tokens, tuned.passes),
                trainable=trainable,
                examples=rows.examples(step),
                tokens=tokens,
                seconds=notes["seconds"],
            ),
            artefact=path,
            notes={name: value for name, value in notes.items() if name != "seconds"},
        )


def _keep_stage(tuned: Tuned, tuning: Tuning, folder: TuneFolder, step: int) -> tuple[Path | None, dict[str, Any]]:
    """Keep weights, then state: what was killed between the two is trained again."""
    notes = {"seconds": tuning.seconds, "loss": _plain(tuning.loss)}
    path = folder.begin_stage(step) if tuned.save is not None else None
    if path is not None and tuned.save is not None:
        tuned.save(path)
        folder.end_stage(step, notes)
    tuning.keep()
    return path, notes


def _fingerprint(tuned: Tuned, rows: TuneRows, config: TuneConfig) -> str:
    settings = [tuned.learning_rate, tuned.passes, tuned.facts, config.max_gradient]
    shapes = {name: list(one.shape) for name, one in tuned.parameters.items()}
    return hash_value([tuned.target.fingerprint, rows.fingerprint, settings, shapes])


def _plain(value: float) -> float | None:
    """A number for JSON, which has no NaN."""
    return value if value == value else None


def under_identity(stage: Stage, config: TuneConfig) -> Stage:
    """The stage, asked under the persona where it was trained under one."""
    if config.data != "identity":
        return stage

    def rewrite(conversation: Conversation) -> Conversation:
        return put_identity(conversation, config.identity)

    return replace(stage, rewrite=rewrite)
