"""Training settings are bounded and name what is wrong."""

from __future__ import annotations

import pytest

from demur.config import parse_settings
from demur.errors import ConfigError
from demur.training import TrainConfig


def test_an_unknown_key_names_the_nearest() -> None:
    with pytest.raises(ConfigError, match="unknown key 'learning_rat'; did you mean 'learning_rate'"):
        parse_settings(TrainConfig, {"learning_rat": 1})


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("epochs", 0),
        ("learning_rate", 0),
        ("warmup_share", 1),
        ("patience", 0),
        ("label_smoothing", 1),
        ("evals_per_epoch", 0),
    ],
)
def test_values_out_of_bounds_are_refused(key: str, value: float) -> None:
    with pytest.raises(ConfigError, match=f"key '{key}'"):
        parse_settings(TrainConfig, {key: value})


def test_every_field_is_described() -> None:
    assert all(field.description for field in TrainConfig.model_fields.values())
