"""A circuit breaker from configuration to adapter: load, check, train, validate, save."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from demur.errors import ConfigError, DemurError, require, translate_os_error
from demur.harden._blocks import attach_lora, find_stack, nudge_adapters
from demur.harden._data import HardenRows, load_rows
from demur.harden._pairs import PairCollator, PairDataset, RowTokens
from demur.harden._result import HardenResult
from demur.llm import ChatRow, Target, load_target, resolve_layers, token_kl
from demur.paths import full_disk_as_os_error, hash_value, write_json
from demur.training import quiet_transformers, seeded

if TYPE_CHECKING:
    from transformers import TrainingArguments

    from demur.harden._config import HardenConfig
    from demur.harden._memory import MemoryPlan
    from demur.harden._module import BreakerModule
    from demur.harden._validate import KlSummary, Validation

_CALIBRATION_PAIRS = 64
"""Pairs whose base states are measured before the first step."""
_VALID_PAIRS = 8
"""Pairs of held-out rows a forward pass."""


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
        A layer is beyond the depth, or the model has no chat template.
    DataError
        A row has no response, or there is none.
    LeakError
        A prompt is both trained on and measured on.
    NoMemoryError
        Memory ran out; the message says what saves some.
    StorageError
        The disk is full or not writable; the same call goes on from the last checkpoint.
    TrainingError
        The loss is no number any more.
    MissingDependencyError
        torch, transformers, accelerate or peft is not installed.
    """
    for library in ("torch", "transformers", "accelerate"):
        require(library, extra="torch")
    require("peft", extra="llm")
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

    def __init__(self, config: HardenConfig, folder: Path, progress: Callable[[int, int], None] | None) -> None:
        self.config, self.folder, self.progress = config, folder, progress

    def go(self, started: float) -> HardenResult:
        from demur.harden._export import export_adapter, export_merged
        from demur.harden._loop import LoopPlan, make_arguments, read_validations, run_loop
        from demur.llm import full_memory_as_error

        config = self.config
        rows = load_rows(config.data, config.seed)
        arguments = make_arguments(config, self.folder / "checkpoints")
        self.is_main = arguments.process_index == 0
        with full_memory_as_error("hardening", _remedies()):
            target = self._load()
            targets = resolve_targets(config, target.depth)
            module = self._build(target, targets)
            tokens, rows = self._encode(target, rows)
            data = PairDataset(tokens, rows, config)
            collator = PairCollator(target.pad_id, config.data.max_tokens if self._is_faithful else None)
            module.to(arguments.device)
            self._calibrate(module, data, collator)
            memory = self._plan_memory(module, data, arguments)
            validate = self._make_validation(module, target, rows, tokens)
            plan = LoopPlan(config, self._fingerprint(target, rows), validate, self.progress)
            state = run_loop(module, data, collator, arguments, plan)
            validations = read_validations(state)
            if validations and validations[-1].kl is None:
                validations[-1] = replace(validations[-1], kl=self._measure_kl(module, target, rows, tokens))
        if self.is_main:
            export_adapter(target, module.model, self.folder / "adapter")
            if config.merged:
                export_merged(target.config, self.folder / "adapter", self.folder / "merged")
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
            rows=rows.count(),
            memory=memory.to_json(),
            seconds=time.perf_counter() - started,
        )
        if self.is_main:
            write_json(self.folder / "harden.json", result.to_json() | {"config": config.model_dump(mode="json")})
        return result

    @property
    def _is_faithful(self) -> bool:
        return self.config.retain_loss == "faithful"

    def _load(self) -> Target:
        """The target on the CPU; the trainer moves it, each process to its own device."""
        import torch

        from demur.harden._export import unwrap_base

        given = self.config.target
        dtype = given.dtype
        if dtype == "auto" and given.device != "cpu" and torch.cuda.is_available():
            dtype = "bf16" if torch.cuda.is_bf16_supported() else "fp32"
        target = load_target(given.model_copy(update={"device": "cpu", "dtype": dtype}))
        return unwrap_base(target, self.config, self.folder / "base", self.is_main)

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
        usable = HardenRows(
            breakers=tuple(tokens.keep_usable(rows.breakers, "breaker")),
            retain=tuple(tuple(tokens.keep_usable(part, "retain")) for part in rows.retain),
            shares=rows.shares,
            breakers_valid=tuple(tokens.keep_usable(rows.breakers_valid, "held-out breaker")),
            retain_valid=tuple(tokens.keep_usable(rows.retain_valid, "held-out retain")),
        )
        return tokens, usable

    def _calibrate(self, module: BreakerModule, data: PairDataset, collator: PairCollator) -> None:
        from demur.harden._calibrate import calibrate

        pairs = [data[number] for number in range(min(_CALIBRATION_PAIRS, len(data)))]
        calibrate(module, _batch(pairs, collator), self.config.seed)

    def _plan_memory(self, module: BreakerModule, data: PairDataset, arguments: TrainingArguments) -> MemoryPlan:
        from demur.harden._memory import plan_memory, recompute_activations, refuse_too_large

        found = plan_memory(module, self.config, data.longest, arguments.per_device_train_batch_size)
        refuse_too_large(found)
        if found.is_recomputed:
            recompute_activations(module)
        return found

    def _make_validation(
        self, module: BreakerModule, target: Target, rows: HardenRows, tokens: RowTokens
    ) -> Callable[[int], Validation]:
        from demur.harden._pairs import TokenPair
        from demur.harden._validate import validate

        config = self.config
        count = min(config.valid_rows, max(len(rows.breakers_valid), len(rows.retain_valid)))
        # The shorter of the two begins again.
        pairs = [
            TokenPair(
                tokens.encode(rows.retain_valid[number % len(rows.retain_valid)]),
                tokens.encode(rows.breakers_valid[number % len(rows.breakers_valid)]),
            )
            for number in range(count)
        ]
        batches = _batch(pairs, PairCollator(target.pad_id))

        def measure(step: int) -> Validation:
            found = validate(module, batches, step)
            if config.kl_every and step % config.kl_every == 0:
                return replace(found, kl=self._measure_kl(module, target, rows, tokens))
            return found

        return measure

    def _measure_kl(self, module: BreakerModule, target: Target, rows: HardenRows, tokens: RowTokens) -> KlSummary:
        from demur.harden._validate import KlSummary

        limit = self.config.data.max_tokens
        encoded = [target.encode(row.conversation) for row in rows.retain_valid[: self.config.kl_rows]]
        cut = [ChatRow(row.ids[:limit], row.assistant[:limit]) for row in encoded]
        adapted = target.with_module(module.model)
        found = token_kl(adapted, "adapters_off", [row for row in cut if row.assistant[1:].any()])
        return KlSummary(found.mean, found.p99, found.first_mean, len(found.values))

    def _fingerprint(self, target: Target, rows: HardenRows) -> str:
        """Of all that decides the course of the training; how often one looks at it does not."""
        skipped = {"name", "merged", "kl_rows", "kl_every", "checkpoint_every", "target", "data"}
        parts = [rows.breakers, *rows.retain, rows.breakers_valid, rows.retain_valid]
        texts = [[[str(row.conversation.messages) for row in part] for part in parts], list(rows.shares)]
        drops = [self.config.data.drop_request, self.config.data.retain_drop_request, self.config.data.max_tokens]
        return hash_value([self.config.model_dump(mode="json", exclude=skipped), target.fingerprint, texts, drops])


def _batch(pairs: list[Any], collator: PairCollator) -> list[Any]:
    return [collator(pairs[at : at + _VALID_PAIRS]) for at in range(0, len(pairs), _VALID_PAIRS)]


def _remedies() -> str:
    from demur.harden._memory import REMEDIES

    return REMEDIES
