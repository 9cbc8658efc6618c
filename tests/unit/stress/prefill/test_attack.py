"""Answers begin with exactly as many tokens as asked for, in the words of the text."""

from itertools import pairwise

import pytest

from demur.errors import ConfigError
from demur.llm import Conversation, Message
from demur.stress import Material, Setting
from demur.stress.prefill import PrefillAttack, PrefillConfig


def stages(target, **values):
    return list(PrefillAttack(PrefillConfig(**values)).stages(target, Setting(Material())))


def test_the_answer_begins_with_exactly_as_many_tokens_as_asked_for(target, prompts):
    for stage, length in zip(stages(target, lengths=(5, 10, 20)), (5, 10, 20), strict=True):
        for prompt, asked in zip(prompts, stage.conversations(prompts), strict=True):
            plain, begun = target.prompt_ids(prompt), target.prompt_ids(asked)
            assert begun[: len(plain)].tolist() == plain.tolist()
            assert len(begun) - len(plain) == length


def test_longer_beginnings_go_on_as_shorter_ones_begin(target, prompts):
    heads = [stage.conversations(prompts)[0].prefill for stage in stages(target, lengths=(20, 5, 10))]
    assert [len(head) for head in heads] == sorted(len(head) for head in heads)
    assert all(long.startswith(short) for short, long in pairwise(heads))
    assert PrefillConfig().text.startswith(heads[-1])


def test_the_count_holds_after_other_turns_and_a_system_message(make_target):
    target = make_target(system="Be kind.")
    turns = (Message("user", "a"), Message("assistant", "b"), Message("user", "c"))
    (stage,) = stages(target, lengths=(7,))
    (asked,) = stage.conversations([Conversation(turns)])
    assert len(target.prompt_ids(asked)) - len(target.prompt_ids(Conversation(turns))) == 7


def test_a_beginning_may_be_given_as_tokens(target, prompts):
    ids = target.tokenizer("Take it and heat it.", add_special_tokens=False)["input_ids"]
    (stage,) = stages(target, tokens=tuple(ids), lengths=(len(ids),))
    assert stage.conversations(prompts)[0].prefill == "Take it and heat it."
    begun = target.prompt_ids(stage.conversations(prompts)[0])
    assert begun[-len(ids) :].tolist() == ids


def test_a_text_that_is_too_short_is_refused(target):
    with pytest.raises(ConfigError, match=r"has \d+ tokens of this model, and 500 are asked for; give a longer"):
        stages(target, lengths=(500,))


def test_a_length_no_beginning_has_is_refused(make_target):
    """A character outside the vocabulary is several bytes, each a token: none of it alone is text."""
    with pytest.raises(ConfigError, match="no beginning of the text is read as exactly 2 tokens"):
        stages(make_target(), text="\N{SNOWMAN}\N{SNOWMAN}", lengths=(2,))


def test_the_label_tells_the_length(target):
    assert [stage.label for stage in stages(target, lengths=(10, 5))] == ["prefill=5", "prefill=10"]
