"""Vectors stand beside every request while a stage is in force; a search goes on from where it was killed."""

from itertools import pairwise

import numpy as np
import pytest

from demur.errors import UsageError
from demur.llm import Conversation, GenerationConfig
from demur.stress import Material, Setting
from demur.stress._slot import vocabulary_of
from demur.stress.soft_prompt import SoftPromptAttack, SoftPromptConfig

SMALL = {"tokens": 4, "restarts": 2, "steps": (0, 3, 6), "beginning": "Sure."}
SHORT = GenerationConfig(max_new_tokens=4)


def stages(target, material, folder=None, seed=0, **values):
    return SoftPromptAttack(SoftPromptConfig(**SMALL | values)).stages(target, Setting(material, seed, folder))


def ask(stage, prompts):
    return [reply.token_ids for reply in stage.target.generate(stage.conversations(prompts), SHORT)]


def test_the_loss_falls_from_stage_to_stage(target, material):
    found = list(stages(target, material))
    assert [stage.step for stage in found] == [0, 3, 6]
    losses = [stage.notes["loss"] for stage in found]
    assert losses == sorted(losses, reverse=True)
    assert losses[-1] < losses[0]
    assert [len(stage.notes["curve"]) for stage in found] == [1, 4, 7]


def test_the_prompt_holds_as_many_vectors_as_asked_for(target, material, prompts):
    first = vocabulary_of(target.module)
    for stage in stages(target, material, steps=(0,)):
        ids = stage.target.prompt_ids(prompts[0])
        assert ids[ids >= first].tolist() == [first, first + 1, first + 2, first + 3]
        assert len(ids) == len(target.prompt_ids(prompts[0])) + 4


def test_answers_change_with_the_vectors_and_are_the_targets_own_again(target, material, prompts):
    plain = target.generate(prompts, SHORT)
    seen = [ask(stage, prompts) for stage in stages(target, material, step_size=1.0)]
    assert seen[0] != seen[-1]
    assert target.generate(prompts, SHORT) == plain


def test_closing_the_iterator_leaves_the_target_as_it_was(target, material, prompts, weights_of, same_weights):
    before, plain = weights_of(target.module), target.generate(prompts, SHORT)
    iterator = stages(target, material)
    next(iterator)
    iterator.close()
    assert same_weights(target.module, before)
    assert target.generate(prompts, SHORT) == plain


def test_answers_do_not_depend_on_the_batch(target, material, prompts):
    for stage in stages(target, material, steps=(3,)):
        asked = stage.conversations([*prompts, Conversation.from_prompt("and a rather longer one than those?")])
        one, many = (
            stage.target.generate(asked, GenerationConfig(max_new_tokens=4, batch_size=size)) for size in (1, 4)
        )
        assert one == many


def test_a_killed_search_goes_on_as_if_it_had_not_been(target, material, tmp_path):
    whole = list(stages(target, material))
    iterator = stages(target, material, tmp_path)
    next(iterator)
    next(iterator)
    iterator.close()
    again = list(stages(target, material, tmp_path))
    for one, other in zip(whole, again, strict=True):
        assert one.notes == other.notes
        assert (one.cost.flops, one.cost.tokens) == (other.cost.flops, other.cost.tokens)


def test_further_steps_go_on_from_those_that_were_made(target, material, tmp_path):
    list(stages(target, material, tmp_path, steps=(0, 3)))
    found = list(stages(target, material, tmp_path, steps=(3, 6)))
    assert [stage.notes for stage in found] == [stage.notes for stage in stages(target, material, steps=(3, 6))]


def test_each_prompt_can_have_vectors_of_its_own(target, material, prompts):
    first = vocabulary_of(target.module)
    setting = Setting(material, prompts=tuple(prompts))
    *_, last = SoftPromptAttack(SoftPromptConfig(**SMALL, scope="each")).stages(target, setting)
    for number, prompt in enumerate(prompts):
        ids = last.target.prompt_ids(prompt)
        assert ids[ids >= first].tolist() == [first + 4 * number + place for place in range(4)]
    ids = last.target.prompt_ids(material.harmful_prompts[0])
    assert ids.max() == first + 3
    assert len(last.notes["losses"]) == len(prompts)


def test_vectors_for_one_prompt_are_what_a_search_on_it_alone_finds(target, prompts, tmp_path):
    alone = list(stages(target, Material(harmful_prompts=(prompts[1],))))
    attack = SoftPromptAttack(SoftPromptConfig(**SMALL, scope="each"))
    setting = Setting(Material(), folder=tmp_path, prompts=tuple(prompts))
    for one, other in zip(alone, attack.stages(target, setting), strict=True):
        assert other.notes["losses"][1] == one.notes["loss"]
    again = list(attack.stages(target, setting))
    assert again[-1].notes["losses"][1] == alone[-1].notes["loss"]


def test_a_search_for_each_prompt_without_prompts_is_refused(target, material):
    with pytest.raises(UsageError, match="is to search for each prompt that is judged, and there is none; give"):
        list(stages(target, material, scope="each"))


def test_cost_rises_and_counts_what_was_trained(target, material):
    found = list(stages(target, material))
    assert all(one.cost.flops < other.cost.flops for one, other in pairwise(found))
    assert {stage.cost.trainable for stage in found} == {2 * 4 * 32}
    assert {stage.cost.examples for stage in found} == {len(material.harmful_prompts)}


def test_vectors_may_stand_before_the_request(target, material, prompts):
    first = vocabulary_of(target.module)
    (stage,) = stages(target, material, steps=(0,), place="before")
    ids = stage.target.prompt_ids(prompts[0])
    begin = int(np.flatnonzero(ids == first)[0])
    assert target.tokenizer.decode(ids[begin + 4 :]).startswith(prompts[0].messages[0].content)


def test_a_conversation_that_is_answered_is_refused_as_ever(target, material, prompts):
    (stage,) = stages(target, material, steps=(0,))
    with pytest.raises(UsageError, match="ends with an assistant's turn"):
        stage.target.prompt_ids(prompts[0].answer("Yes."))


def test_without_prompts_to_search_on_it_is_refused(target):
    with pytest.raises(UsageError, match="'soft_prompt' needs harmful_prompts, of which there is none"):
        list(stages(target, Material()))
