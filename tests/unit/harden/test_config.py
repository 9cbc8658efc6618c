"""Settings of a breaker refuse what could not be trained."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from demur.errors import ConfigError


def test_a_step_is_split_into_equal_passes(make_config: Callable[..., Any]) -> None:
    assert make_config(batch_size=8, accumulate=4).accumulate == 4
    with pytest.raises(
        ConfigError, match=r"batch_size 8 cannot be split into 3 equal passes; make accumulate one of"
    ):
        make_config(batch_size=8, accumulate=3)


@pytest.mark.parametrize(
    ("changes", "key"),
    [
        ({"layers": ()}, "layers"),
        ({"data": {"breakers": []}}, "data.breakers"),
        ({"data": {"retain": []}}, "data.retain"),
        ({"alpha": 0}, "alpha"),
        ({"data": {"held_out": 1}}, "data.held_out"),
        ({"objective": "triplet"}, "objective"),
    ],
)
def test_a_value_out_of_bounds_is_refused_by_its_key(
    make_config: Callable[..., Any], changes: dict[str, Any], key: str
) -> None:
    with pytest.raises(ConfigError, match=f"key '{key}'"):
        make_config(**changes)
