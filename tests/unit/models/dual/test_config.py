"""Settings that cannot be meant are refused."""

from __future__ import annotations

from typing import Any

import pytest

from demur.models.dual import DualClassifier, DualConfig


def test_a_task_named_twice_is_refused() -> None:
    with pytest.raises(ValueError, match="repeat; name each once"):
        DualConfig(tasks=("jailbreak", "jailbreak"))


@pytest.mark.parametrize("weight", [0, -1, 1000])
def test_a_weight_that_switches_a_task_off_or_drowns_the_others_is_refused(weight: float) -> None:
    with pytest.raises(ValueError, match="task_weights"):
        DualConfig(task_weights={"jailbreak": weight})


def test_what_a_search_varies_are_settings_that_there_are() -> None:
    for name, space in DualClassifier.search_space.items():
        changes: dict[str, Any] = {}
        changes[name.split(".")[-1]] = (space.get("choices") or [space["low"], space["high"]])[0]
        for part in reversed(name.split(".")[:-1]):
            changes = {part: changes}
        assert DualConfig(**changes) != DualConfig()


def test_limits_are_the_part_on_tokens() -> None:
    limits = DualConfig(max_tokens=99, prompt_tokens=20).limits
    assert (limits.max_tokens, limits.prompt_tokens) == (99, 20)
