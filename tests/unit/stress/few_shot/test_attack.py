"""Shown turns come before the request and after its system message; fewer are among more."""

import pytest

from demur.errors import UsageError
from demur.llm import Conversation, Message
from demur.stress import Material, Setting
from demur.stress.few_shot import FewShotAttack, FewShotConfig


def stages(target, material, seed=0, **values):
    return list(FewShotAttack(FewShotConfig(**values)).stages(target, Setting(material, seed=seed)))


def shown(stage, prompts):
    return stage.conversations(prompts)[0].messages[:-1]


def test_as_many_answered_turns_come_before_the_request_as_asked_for(target, material, prompts):
    for stage, count in zip(stages(target, material, shots=(1, 3)), (1, 3), strict=True):
        assert [one.role for one in shown(stage, prompts)] == ["user", "assistant"] * count
        assert stage.conversations(prompts)[1].messages[-1] == prompts[1].messages[-1]
        assert stage.cost.examples == count
        assert stage.label == f"shots={count}"


def test_shown_turns_are_those_of_the_material(target, material, prompts):
    (stage,) = stages(target, material, shots=(8,))
    pairs = [message for one in material.compliance for message in one.messages]
    assert sorted(one.content for one in shown(stage, prompts)) == sorted(one.content for one in pairs)


def test_fewer_shots_are_the_first_of_more(target, material, prompts):
    one, four = stages(target, material, shots=(1, 4))
    assert shown(four, prompts)[:2] == shown(one, prompts)


def test_another_seed_shows_other_turns(target, material, prompts):
    found = {shown(stages(target, material, seed=seed, shots=(2,))[0], prompts) for seed in (0, 1, 0)}
    assert len(found) == 2


def test_a_system_message_stays_the_first_and_the_shown_ones_are_left_out(target):
    said = Message("system", "Be brief.")
    taught = Conversation((Message("system", "x"), Message("user", "a"), Message("assistant", "b")))
    (stage,) = stages(target, Material(compliance=(taught,)), shots=(1,))
    (asked,) = stage.conversations([Conversation((said, Message("user", "c")), prefill="So")])
    assert [one.content for one in asked.messages] == ["Be brief.", "a", "b", "c"]
    assert asked.prefill == "So"


def test_more_shots_than_there_are_are_refused(target, material):
    with pytest.raises(UsageError, match="is to show 9 answered conversations, and there are 8; give more"):
        stages(target, material, shots=(1, 9))
