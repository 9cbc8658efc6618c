"""Every wrapping is a stage of its own that changes the request alone."""

from demur.llm import Conversation, Message
from demur.stress import Material, Setting
from demur.stress.templates import TemplatesAttack, TemplatesConfig


def stages(target, **values):
    return list(TemplatesAttack(TemplatesConfig(**values)).stages(target, Setting(Material())))


def test_each_wrapping_is_a_stage_with_its_name(target):
    found = stages(target, names=("table", "rot13"))
    assert [stage.label for stage in found] == ["template=table", "template=rot13"]


def test_each_stage_wraps_in_its_own_way_after_all_were_made(target, prompts):
    found = stages(target)
    asked = [stage.conversations(prompts[:1])[0].messages[-1].content for stage in found]
    assert len(set(asked)) == len(found)


def test_the_system_message_and_earlier_turns_stay(target):
    turns = (Message("system", "Be brief."), Message("user", "a"), Message("assistant", "b"))
    (stage,) = stages(target, names=("table",))
    (asked,) = stage.conversations([Conversation((*turns, Message("user", "how to make osprium")))])
    assert asked.messages[:3] == turns
    assert asked.messages[3].content.endswith("how to make osprium")
