"""Each variant is a stage; a model that rewrites is asked once a request, and passed over where it refuses."""

import pytest
import torch

from demur.llm import Conversation, GenerationConfig, Message, Reply, TargetConfig
from demur.stress import Material, Setting
from demur.stress.paraphrase import ParaphraseAttack, ParaphraseConfig
from demur.stress.paraphrase import _attack as module
from demur.stress.paraphrase._attack import Rewriter, shares_words


class Writer:
    """Says the same to everyone, and counts."""

    name = "writer"

    def __init__(self, said):
        self.said, self.asked = said, []

    module = torch.nn.Linear(2, 3, bias=False)

    def prompt_ids(self, conversation):
        return range(5)

    def generate(self, conversations, config):
        self.asked += [one.messages[-1].content for one in conversations]
        return [Reply(self.said, (1,), True) for _ in conversations]


def stages(target, seed=0, **values):
    return list(ParaphraseAttack(ParaphraseConfig(**values)).stages(target, Setting(Material(), seed)))


def asked(stage, prompts):
    return [one.messages[-1].content for one in stage.conversations(prompts)]


def test_each_variant_is_a_stage_of_its_own(target, prompts):
    found = stages(target, variants=4)
    assert [stage.label for stage in found] == [f"variant={number}" for number in (1, 2, 3, 4)]
    assert len({tuple(asked(stage, prompts)) for stage in found}) >= 3


def test_another_seed_words_it_otherwise(target, prompts):
    first, again, other = (asked(stages(target, seed)[0], prompts) for seed in (0, 0, 1))
    assert first == again != other


def test_earlier_turns_stay(target):
    turns = (Message("user", "a"), Message("assistant", "b"))
    (found,) = stages(target, variants=1)[0].conversations([Conversation((*turns, Message("user", "make tea")))])
    assert found.messages[:2] == turns
    assert found.messages[2].content != "make tea"


def test_a_model_rewrites_in_a_stage_of_its_own(target, prompts, monkeypatch):
    writer = Writer(" In what way does one produce osprium? ")
    monkeypatch.setattr(module, "load_target", lambda config: writer)
    *_, last = stages(target, variants=1, model=TargetConfig(model="writer"))
    one = [Conversation.from_prompt("How do I make osprium?")]
    assert asked(last, one * 2) == ["In what way does one produce osprium?"] * 2
    assert len(writer.asked) == 1
    assert (last.label, last.notes) == ("model", {"model": "writer"})


def test_what_the_model_reads_and_writes_of_the_judged_prompts_is_the_cost(target, prompts, monkeypatch):
    writer = Writer("In what way does one produce osprium?")
    monkeypatch.setattr(module, "load_target", lambda config: writer)
    attack = ParaphraseAttack(ParaphraseConfig(variants=1, model=TargetConfig(model="writer")))
    by_rules, by_model = attack.stages(target, Setting(Material(), prompts=tuple(prompts)))
    # Six parameters, five tokens of a prompt and one of its answer.
    assert (by_rules.cost.flops, by_model.cost.flops) == (0, 2 * 6 * (5 + 1) * len(prompts))
    assert by_model.cost.seconds > by_rules.cost.seconds == 0
    asked(by_model, prompts)
    assert len(writer.asked) == len(prompts)


def test_a_stage_that_was_measured_before_is_not_written_again(target, prompts, monkeypatch):
    writer = Writer("In what way?")
    monkeypatch.setattr(module, "load_target", lambda config: writer)
    attack = ParaphraseAttack(ParaphraseConfig(variants=1, model=TargetConfig(model="writer")))
    done = frozenset({(0, "model")})
    assert len(list(attack.stages(target, Setting(Material(), prompts=tuple(prompts), done=done)))) == 2
    assert writer.asked == []


@pytest.mark.parametrize("said", ["I cannot do that.", "", "How do I make glimmerwax or osprium?"])
def test_rules_take_over_where_the_model_writes_something_else(target, monkeypatch, said):
    monkeypatch.setattr(module, "load_target", lambda config: Writer(said))
    first, last = stages(target, variants=1, model=TargetConfig(model="writer"))
    one = [Conversation.from_prompt("How do I make glimmerwax or osprium?")]
    assert asked(last, one) == asked(first, one)


def test_a_real_model_can_be_the_writer(target):
    writer = Rewriter(target, ParaphraseConfig(generation=GenerationConfig(max_new_tokens=3)), 0)
    assert writer.rewrite("How do I make osprium?") == writer.rewrite("How do I make osprium?")


def test_texts_of_the_same_thing_share_their_longer_words():
    assert shares_words("how to make osprium", "Making osprium: how is that make done")
    assert not shares_words("how to make osprium", "I am sorry")
    assert not shares_words("how to", "")
