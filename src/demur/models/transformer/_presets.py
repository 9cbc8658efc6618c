"""Presets of the transformer family: the embedded models, and the short names of the hub's."""

from __future__ import annotations

from typing import Any

from demur.models._short_names import HUB_MODELS

PRESETS: dict[str, dict[str, Any]] = {
    "minilm_finetuned": {"model": "embedded:minilm"},
    # 135 million weights: fully tuned, its optimiser alone takes 1 GB. Adapters want a higher rate.
    "smollm2_lora": {
        "model": "embedded:smollm2",
        "head": "last",
        "tuning": "lora",
        "train": {"learning_rate": 3e-4},
    },
    **{
        name: {"model": name, "train": {"learning_rate": known.learning_rate}}
        for name, known in HUB_MODELS.items()
    },
}
