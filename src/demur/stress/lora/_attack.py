"""LoRA fine-tuning on the user's data: one run at a constant rate, looked at on the way."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from demur.llm import Target
from demur.stress._protocol import Setting, Stage
from demur.stress._tune import tune_stages, under_identity
from demur.stress._tune_rows import TuneAttack, choose_rows, encode_rows
from demur.stress.lora._adapter import put_lora
from demur.stress.lora._config import LoraConfig


class LoraAttack(TuneAttack[LoraConfig]):
    """Fine-tune a low-rank update on a few answered requests.

    References
    ----------
    Hu et al., "LoRA: Low-Rank Adaptation of Large Language Models", ICLR 2022, section 4.1; for the data
    Qi et al., "Fine-tuning Aligned Language Models Compromises Safety", ICLR 2024, sections 4.2 to 4.4.
    """

    name: ClassVar[str] = "lora"
    title: ClassVar[str] = "The attacker trains a small add-on to the model on a few answered requests."
    config_type = LoraConfig

    def stages(self, target: Target, setting: Setting) -> Iterator[Stage]:
        """Train, and yield the model at each step asked for.

        Parameters
        ----------
        target
            Its own weights are never changed.
        setting
            Data, seed, and the folder for adapters and the state to go on from.

        Yields
        ------
        Stage
            The adapter in force, saved in the folder.
        """
        rows = encode_rows(
            target, choose_rows(setting.material, self.config, setting.seed), self.config, setting.seed
        )
        with put_lora(target, self.config, setting.seed) as tuned:
            for stage in tune_stages(tuned, rows, self.config, setting):
                yield under_identity(stage, self.config)
