"""Stages ask what their attack makes of the prompts; costs and settings are plain data."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from demur.config import Settings
from demur.errors import UsageError
from demur.llm import Conversation, Target
from demur.stress import Attack, Cost, Material, Setting, Stage

PROMPTS = [Conversation.from_prompt(f"how to make {name}") for name in ("glimmerwax", "fennelite")]


class Depth(Settings):
    steps: int = 2


class Nothing(Attack[Depth]):
    name = "nothing"
    access = "prompt"
    title = "Nothing is changed."
    config_type = Depth

    def stages(self, target: Target, setting: Setting) -> Iterator[Stage]:
        for step in range(self.config.steps):
            yield Stage(target, step, Cost(seconds=float(step)))


def stages(attack: Attack[Depth]) -> list[Stage]:
    return list(attack.stages(None, Setting(Material())))  # type: ignore[arg-type]


def test_without_settings_an_attack_has_its_defaults() -> None:
    assert [stage.step for stage in stages(Nothing())] == [0, 1]
    assert len(stages(Nothing(Depth(steps=5)))) == 5


def test_a_stage_without_a_rewriting_asks_the_prompts() -> None:
    assert stages(Nothing())[0].conversations(PROMPTS) == PROMPTS


def test_a_rewriting_is_put_over_every_prompt_in_order() -> None:
    stage = Stage(None, 0, Cost(), rewrite=lambda one: Conversation(one.messages, prefill="Sure"))  # type: ignore[arg-type]
    found = stage.conversations(PROMPTS)
    assert [one.messages for one in found] == [one.messages for one in PROMPTS]
    assert {one.prefill for one in found} == {"Sure"}


def test_a_cost_is_fit_for_json() -> None:
    cost = Cost(flops=1e9, trainable=10, seconds=0.5)
    assert Cost(**json.loads(json.dumps(cost.to_json()))) == cost


def test_no_stage_counts_as_done_unless_it_is_said() -> None:
    assert Setting(Material()).done == frozenset()


class Hungry(Nothing):
    name = "hungry"
    needs = ("compliance", "harmful_prompts")


def test_an_attack_refuses_material_that_lacks_what_it_needs() -> None:
    with pytest.raises(UsageError, match="'hungry' needs compliance and harmful_prompts, of which there is none"):
        Hungry().check_material(Material())
    with pytest.raises(UsageError, match="needs harmful_prompts"):
        Hungry().check_material(Material(compliance=(PROMPTS[0].answer("Sure."),)))


def test_an_attack_that_needs_nothing_takes_any_material() -> None:
    Nothing().check_material(Material())
