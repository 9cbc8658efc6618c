"""A circuit breaker from configuration to adapter: load, check, train, validate, save."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from demur.errors import ConfigError, DemurError, require, translate_os_error
from demur.harden._blocks import attach_lora, find_stack, nudge_adapters
from demur.harden._data import HardenRows, load_rows
from demur.harden._engine import check_engine, check_types
from demur.harden._notes import count_left_out, note_answers, note_cosine, note_rows
from demur.harden._pairs import PairCollator, PairDataset, RowTokens
from demur.harden._result import HardenResult
from demur.llm import Target, TargetConfig, load_target, resolve_layers
from demur.paths import full_disk_as_os_error, hash_value, write_json
from demur.training import quiet_transformers, seeded

if TYPE_CHECKING:
    from transformers import TrainingArguments

    from demur.harden._config import HardenConfig
    from demur.harden._memory import MemoryPlan
    from demur.harden._module import BreakerModule

_CALIBRATION_PAIRS = 64
"""Pairs whose base states are measured before the first step."""
_CALIBRATION_PASS = 8
"""Pairs a forward pass of these."""


def harden(
    config: HardenConfig, out: Path | None = None, progress: Callable[[int, int], None] | None = None
) -> HardenResult:
    """Train a circuit breaker and save its adapter.

    Parameters
    ----------
    config
        What is trained, on what.
    out
        Folder of the run, ``runs/NAME`` where None: ``adapter/``, ``merged/`` on request, ``harden.json`` and the
        checkpoints from which the same call goes on after a kill.
    progress
        Told the step and the number of steps after each.

    Raises
    ------
    ConfigError
        A layer is beyond the depth, the model has no chat template, or it cannot be trained in its type.
    DataError
        A row has no response, or there is none.
    LeakError
        A prompt is both trained on and measured on.
    NoMemoryError
        Memory ran out; the message says what saves some.
    StorageError
        The disk is full or not writable; the same call goes on from the last checkpoint.
    TrainingError
        The loss is no number any more, or an engine cannot train a breaker.
    MissingDependencyError
        torch, transformers, accelerate or peft is not installed.
    """
    for library in ("torch", "transformers", "accelerate"):
        require(library, extra="torch")
    require("peft", extra="llm")
    check_engine()
    check_types(config)
    started = time.perf_counter()
    folder = out if out is not None else Path("runs") / config.name
    try:
        with full_disk_as_os_error(), seeded(config.seed), quiet_transformers():
            return _Run(config, folder, progress).go(started)
    except DemurError:
        raise
    except OSError as error:
        raise translate_os_error(error, "hardening") from error


def resolve_targets(config: HardenConfig, depth: int) -> tuple[int, ...]:
    """The states that are rerouted.

    Parameters
    ----------
    config
        Its layers are resolved.
    depth
        Blocks of the model.

    Raises
    ------
    ConfigError
        A layer is beyond the depth, or the embedding, which no adapter changes; or the faithful retain loss has no
        block above the highest one.
    """
    found = resolve_layers(config.layers, depth)
    if found[0] == 0:
        raise ConfigError(
            "layer 0 is the embedding, which no adapter of a block changes; name layers from 1 on", key="layers"
        )
    if config.retain_loss == "faithful" and found[-1] == depth:
        raise ConfigError(
            f"retain_loss: faithful also holds the block above the highest layer, and {depth} is the last; take a "
            "lower layer, or retain_loss: scaled",
            key="layers",
        )
    return found


class _Run:
    """One run, step by step; everything heavy is imported here."""

    memory: MemoryPlan

    def __init__(self, config: HardenConfig, folder: Path, progress: Callable[[int, int], None] | None) -> None:
        self.config, self.folder, self.progress = config, folder, progress

    def go(self, started: float) -> HardenResult:
        from demur.harden._heldout import HeldOut
        from demur.harden._loop import LoopPlan, make_arguments, read_validations, run_loop
        from demur.harden._memory import REMEDIES
        from demur.llm import full_memory_as_error

        config = self.config
        read = load_rows(config.data, config.seed)
        arguments = make_arguments(config, self.folder / "checkpoints")
        with full_memory_as_error("hardening", REMEDIES):
            target = self._load(arguments)
            targets = resolve_targets(config, target.depth)
            module = self._build(target, targets)
            tokens, rows = self._encode(target, read)
            data = PairDataset(tokens, rows, config)
            collator = PairCollator(target.pad_id, config.data.max_tokens if self._is_faithful else None)
            held_out = HeldOut(module, target, rows, tokens, config, 2 * arguments.per_device_train_batch_size)
            settle = partial(self._settle, module, data, collator, arguments)
            plan = LoopPlan(config, self._fingerprint(target, rows), held_out.measure, self.progress, settle)
            state = run_loop(module, data, collator, arguments, plan)
            validations = read_validations(state)
            if validations and validations[-1].kl is None:
                validations[-1] = replace(validations[-1], kl=held_out.measure_kl())
        left_out = count_left_out(read, rows)
        is_main = arguments.process_index == 0
        self._export(target, module, is_main)
        result = HardenResult(
            name=config.name,
            folder=self.folder,
            adapter=self.folder / "adapter",
            merged=self.folder / "merged" if config.merged else None,
            base=target.config.model,
            targets=targets,
            trained_blocks=module.plan.blocks,
            steps=int(state.global_step),
            is_early=state.global_step < config.steps,
            validations=tuple(validations),
            history=tuple(entry for entry in state.log_history if "loss" in entry),
            rows=rows.count() | {"left_out": left_out},
            memory=self.memory.to_json(),
            seconds=time.perf_counter() - started,
            notes=(
                *note_rows(config, left_out, tokens.is_cut),
                *note_answers(rows),
                *note_cosine(config, validations),
            ),
        )
        if is_main:
            write_json(self.folder / "harden.json", result.to_json() | {"config": config.model_dump(mode="json")})
        return result

    @property
    def _is_faithful(self) -> bool:
        return self.config.retain_loss == "faithful"

    def _load(self, arguments: TrainingArguments) -> Target:
        """The target on the CPU; the trainer moves it, each process to its own device."""
        import torch

        from demur.harden._export import unwrap_base

        given = self.config.target
        dtype = given.dtype
        if dtype == "auto" and given.device != "cpu" and torch.cuda.is_available():
            dtype = "bf16" if torch.cuda.is_bf16_supported() else "fp32"
        settings: TargetConfig = given.model_copy(update={"device": "cpu", "dtype": dtype})
        return load_target(unwrap_base(settings, self.folder / "base", arguments))

    def _build(self, target: Target, targets: tuple[int, ...]) -> BreakerModule:
        from demur.harden._module import BreakerModule, plan_states

        plan = plan_states(self.config, targets)
        # Adapters start from the seed alone, whatever was drawn while loading.
        with seeded(self.config.seed):
            model = attach_lora(target.module, find_stack(target.module), plan.blocks, self.config.lora)
            nudge_adapters(model, self.config.learning_rate)
        return BreakerModule(model, plan, self.config.objective)

    def _encode(self, target: Target, rows: HardenRows) -> tuple[RowTokens, HardenRows]:
        """Encoder of rows, and the rows of which something counts within the token limit."""
        tokens = RowTokens(target, self.config)
        if self.config.mask == "no_prefix":
            tokens.leave_out_prefix([*rows.breakers, *(row for part in rows.retain for row in part)])
        if self.config.mask != "all_text":
            tokens.leave_out_openings([row for part in rows.retain for row in part])
        usable = HardenRows(
            breakers=tuple(tokens.keep_usable(rows.breakers, "breaker")),
            retain=tuple(tuple(tokens.keep_usable(part, "retain")) for part in rows.retain),
            shares=rows.shares,
            breakers_valid=tuple(tokens.keep_usable(rows.breakers_valid, "held-out breaker")),
            retain_valid=tuple(tokens.keep_usable(rows.retain_valid, "held-out retain")),
            left_out=rows.left_out,
        )
        return tokens, usable

    def _settle(
        self,
        module: BreakerModule,
        data: PairDataset,
        collator: PairCollator,
        arguments: TrainingArguments,
        is_new: bool,
    ) -> None:
        """What is measured before the first step, of which a checkpoint holds all but the memory."""
        if is_new:
            self._calibrate(module, data, collator, arguments)
        self.memory = self._plan_memory(module, data, arguments)

    def _calibrate(
        self, module: BreakerModule, data: PairDataset, collator: PairCollator, arguments: TrainingArguments
    ) -> None:
        import torch

        from demur.harden._calibrate import calibrate, settle_nudge

        count = min(_CALIBRATION_PAIRS, len(data))
        size = min(_CALIBRATION_PASS, arguments.per_device_train_batch_size)
        pairs = [data[number] for number in range(count)]
        batches = [collator(pairs[at : at + size]) for at in range(0, count, size)]
        calibrate(module, batches, self.config.seed)
        is_half = module.model.get_base_model().dtype == torch.bfloat16
        if is_half or arguments.bf16:
            # Without its cache: that would go on showing the adapters as they were when they were first measured.
            kind = arguments.device.type
            with torch.autocast(kind, torch.bfloat16, enabled=arguments.bf16, cache_enabled=False):
                settle_nudge(module, batches[0])

    def _plan_memory(self, module: BreakerModule, data: PairDataset, arguments: TrainingArguments) -> MemoryPlan:
        from demur.harden._memory import plan_memory, recompute_activations, refuse_too_large

        found = plan_memory(module, self.config, data.longest, arguments.per_device_train_batch_size)
        refuse_too_large(found)
        if found.is_recomputed:
            recompute_activations(module)
        return found

    def _export(self, target: Target, module: BreakerModule, is_main: bool) -> None:
        from demur.harden._export import export_adapter, export_merged

        export_adapter(target, module, self.folder / "adapter", is_main)
        if self.config.merged and is_main:
            export_merged(target.config, self.folder / "adapter", self.folder / "merged")

    def _fingerprint(self, target: Target, rows: HardenRows) -> str:
        """Of all that decides the course of the training; how often one looks at it does not."""
        skipped = {"name", "merged", "kl_rows", "kl_every", "checkpoint_every", "target", "data"}
        parts = [rows.breakers, *rows.retain, rows.breakers_valid, rows.retain_valid]
        texts = [[[str(row.conversation.messages) for row in part] for part in parts], list(rows.shares)]
        drops = [self.config.data.drop_request, self.config.data.retain_drop_request, self.config.data.max_tokens]
        return hash_value([self.config.model_dump(mode="json", exclude=skipped), target.fingerprint, texts, drops])
