"""Full fine-tuning: all weights, with those of an adapter where the target has one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

from demur.errors import translate_os_error
from demur.llm import Target
from demur.stress._protocol import Setting, Stage
from demur.stress._restore import restoring
from demur.stress._tune import Tuned, tune_stages, under_identity
from demur.stress._tune_rows import TuneAttack, choose_rows, encode_rows
from demur.stress.full._config import FullConfig

_FILE = "weights.safetensors"


class FullAttack(TuneAttack[FullConfig]):
    """Fine-tune all weights.

    Trained in float32 whatever the model is held in: in 16 bits most of the small changes of a low rate round to
    nothing.

    References
    ----------
    Qi et al., "Fine-tuning Aligned Language Models Compromises Safety", ICLR 2024, sections 4.2 to 4.4.
    """

    name: ClassVar[str] = "full"
    title: ClassVar[str] = "The attacker trains all of the model's weights on a few answered requests."
    config_type = FullConfig
    extent: ClassVar[frozenset[str]] = frozenset({"steps", "checkpoint_every", "keep_weights"})

    def stages(self, target: Target, setting: Setting) -> Iterator[Stage]:
        """Train, and yield the model at each step asked for.

        Parameters
        ----------
        target
            Has its weights back, bit for bit, when the iterator has ended.
        setting
            Data, seed, and the folder for the state to go on from.

        Yields
        ------
        Stage
            The changed weights in force.
        """
        rows = encode_rows(
            target, choose_rows(setting.material, self.config, setting.seed), self.config, setting.seed
        )
        with restoring(target.module), _training_all(target.module) as parameters:
            tuned = Tuned(target, parameters, "full", self.config.learning_rate)
            if self.config.keep_weights:
                tuned = replace(
                    tuned,
                    save=lambda folder: _save(folder, parameters),
                    load=lambda folder: _load(folder, parameters),
                )
            for stage in tune_stages(tuned, rows, self.config, setting):
                yield under_identity(stage, self.config)


@contextmanager
def _training_all(module: Any) -> Iterator[dict[str, Any]]:
    """All weights in float32 and open to training, for a block; then with the types and flags they had."""
    import torch

    parameters = {name: one for name, one in module.named_parameters() if one.is_floating_point()}
    before = [(one, one.requires_grad, one.dtype) for one in parameters.values()]
    try:
        for one in parameters.values():
            one.data = one.data.to(torch.float32)
            one.requires_grad_(True)
        yield parameters
    finally:
        for one, flag, dtype in before:
            one.grad = None
            one.data = one.data.to(dtype)
            one.requires_grad_(flag)


def _save(folder: Path, parameters: dict[str, Any]) -> None:
    from safetensors.torch import save_file

    from demur.paths import full_disk_as_os_error

    try:
        with full_disk_as_os_error():
            folder.mkdir(parents=True, exist_ok=True)
            save_file({name: one.detach().cpu().contiguous() for name, one in parameters.items()}, folder / _FILE)
    except OSError as error:
        raise translate_os_error(error, f"saving the weights of {folder.name}") from error


def _load(folder: Path, parameters: dict[str, Any]) -> None:
    import torch
    from safetensors.torch import load_file

    found = load_file(folder / _FILE)
    with torch.no_grad():
        for name, one in parameters.items():
            one.copy_(found[name])
