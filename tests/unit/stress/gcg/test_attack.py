"""A suffix is put after every request as text; a search goes on from where it was killed."""

from itertools import pairwise

import pytest

from demur.errors import UsageError
from demur.stress import Material, Setting
from demur.stress.gcg import GcgAttack, GcgConfig

SMALL = {"tokens": 4, "candidates": 8, "top_k": 10, "prompts": 2, "steps": (0, 2, 4), "beginning": "Sure."}


def stages(target, material, folder=None, seed=0, **values):
    return GcgAttack(GcgConfig(**SMALL | values)).stages(target, Setting(material, seed, folder))


def without_time(stage):
    return stage.step, stage.notes, stage.cost.flops, stage.cost.tokens


def test_the_loss_falls_from_stage_to_stage(target, material):
    found = list(stages(target, material, steps=(0, 3, 6)))
    losses = [stage.notes["loss"] for stage in found]
    assert losses == sorted(losses, reverse=True)
    assert losses[-1] < losses[0]
    assert [len(stage.notes["curve"]) for stage in found] == [1, 4, 7]


def test_the_suffix_follows_every_request(target, material, prompts):
    for stage in stages(target, material):
        for prompt, asked in zip(prompts, stage.conversations(prompts), strict=True):
            assert asked.messages[-1].content == prompt.messages[-1].content + stage.notes["suffixes"][0]


def test_the_suffix_as_text_has_as_many_tokens_as_asked_for(target, material):
    *_, last = stages(target, material)
    assert last.notes["read_back"] > 0
    again = target.tokenizer(last.notes["suffixes"][0], add_special_tokens=False)["input_ids"]
    assert len(again) == 4


def test_each_stage_keeps_its_own_suffix(target, material, prompts):
    found = list(stages(target, material))
    said = [stage.conversations(prompts)[0].messages[-1].content for stage in found]
    assert [text.endswith(stage.notes["suffixes"][0]) for text, stage in zip(said, found, strict=True)] == [
        True
    ] * 3
    assert said[0] != said[-1]


def test_the_same_seed_finds_the_same_and_another_seed_another(target, material):
    def run(seed):
        return [without_time(stage) for stage in stages(target, material, seed=seed)]

    assert run(0) == run(0)
    assert run(0) != run(1)


def test_a_killed_search_goes_on_as_if_it_had_not_been(target, material, tmp_path):
    iterator = stages(target, material, tmp_path)
    next(iterator)
    next(iterator)
    iterator.close()
    again = [without_time(stage) for stage in stages(target, material, tmp_path)]
    assert again == [without_time(stage) for stage in stages(target, material)]


def test_weights_are_not_touched(target, material, weights_of, same_weights):
    before = weights_of(target.module)
    for stage in stages(target, material):
        assert stage.target is target
        assert same_weights(target.module, before)


def test_each_prompt_can_have_a_suffix_of_its_own(target, material, prompts):
    setting = Setting(material, prompts=tuple(prompts))
    *_, last = GcgAttack(GcgConfig(**SMALL, scope="each")).stages(target, setting)
    assert len(last.notes["suffixes"]) == len(prompts)
    for prompt, asked, suffix in zip(prompts, last.conversations(prompts), last.notes["suffixes"], strict=True):
        assert asked.messages[-1].content == prompt.messages[-1].content + suffix
    (other,) = last.conversations(material.harmful_prompts[:1])
    assert other.messages[-1].content.endswith(last.notes["suffixes"][0])


def test_a_suffix_for_one_prompt_is_what_a_search_on_it_alone_finds(target, prompts):
    alone = list(stages(target, Material(harmful_prompts=(prompts[1],))))
    setting = Setting(Material(), prompts=tuple(prompts))
    found = list(GcgAttack(GcgConfig(**SMALL, scope="each")).stages(target, setting))
    assert [one.notes["suffixes"][1] for one in found] == [one.notes["suffixes"][0] for one in alone]
    assert found[-1].cost.flops > alone[-1].cost.flops


def test_a_search_for_each_prompt_without_prompts_is_refused(target, material):
    with pytest.raises(UsageError, match="'gcg' is to search for each prompt that is judged, and there is none"):
        list(stages(target, material, scope="each"))


def test_cost_rises(target, material):
    found = [stage.cost for stage in stages(target, material)]
    assert all(one.flops < other.flops for one, other in pairwise(found))
    assert {one.examples for one in found} == {2}


def test_without_prompts_to_search_on_it_is_refused(target):
    with pytest.raises(UsageError, match="'gcg' needs harmful_prompts, of which there is none"):
        list(stages(target, Material()))
