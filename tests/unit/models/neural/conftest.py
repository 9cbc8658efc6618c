"""Small networks and rows whose answers tell the class."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from demur.config import parse_settings
from demur.data import Records
from demur.models.neural import NeuralClassifier, NeuralConfig
from demur.tasks import REFUSAL

ARCHITECTURES = ("cnn", "lstm", "bilstm", "transformer", "hybrid")
ANSWERS = {"no_refusal": "yes, here is how", "hard_refusal": "sorry, no.", "soft_refusal": "rather tea, but"}
SMALL = {
    "vocabulary": 320,
    "embeddings": "random",
    "embedding_dim": 16,
    "filters": 8,
    "hidden": 12,
    "heads": 2,
    "max_tokens": 64,
    "prompt_tokens": 20,
}


@pytest.fixture(scope="session")
def rows() -> Callable[..., Records]:
    """Maker of rows of the task ``refusal``: ``rows(count)``; their lengths differ."""

    def make(count: int, longest: int = 6) -> Records:
        listed = [
            {
                "prompt": f"how to make {('bread', 'tea')[number % 2]}?",
                "response": ANSWERS[label] + " a little" * (number % longest),
                "refusal": label,
            }
            for number in range(count)
            for label in [list(ANSWERS)[number % 3]]
        ]
        return Records.from_rows(listed)

    return make


@pytest.fixture(scope="session")
def small() -> Callable[..., NeuralConfig]:
    """Maker of settings of a small network: ``small("cnn", dropout=0.1)``."""

    def make(architecture: str, **changes: Any) -> NeuralConfig:
        train = {"epochs": 1, "batch_size": 8, "learning_rate": 0.01} | changes.pop("train", {})
        return parse_settings(NeuralConfig, SMALL | {"architecture": architecture, "train": train} | changes)

    return make


@pytest.fixture(scope="session")
def fit(small: Callable[..., NeuralConfig], rows: Callable[..., Records]) -> Callable[..., NeuralClassifier]:
    """Maker of a trained small network: ``fit("cnn", seed=1)``."""

    def make(architecture: str, seed: int = 0, **changes: Any) -> NeuralClassifier:
        return NeuralClassifier(REFUSAL, small(architecture, **changes), seed).fit(rows(24))

    return make
