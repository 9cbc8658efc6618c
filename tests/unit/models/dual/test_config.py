"""Settings that cannot be meant are refused."""

from __future__ import annotations

import pytest

from demur.models.dual import DualConfig


def test_a_task_named_twice_is_refused() -> None:
    with pytest.raises(ValueError, match="repeat; name each once"):
        DualConfig(tasks=("jailbreak", "jailbreak"))


@pytest.mark.parametrize("weight", [0, -1, 1000])
def test_a_weight_that_switches_a_task_off_or_drowns_the_others_is_refused(weight: float) -> None:
    with pytest.raises(ValueError, match="task_weights"):
        DualConfig(task_weights={"jailbreak": weight})


def test_limits_are_the_part_on_tokens() -> None:
    limits = DualConfig(max_tokens=99, prompt_tokens=20).limits
    assert (limits.max_tokens, limits.prompt_tokens) == (99, 20)
