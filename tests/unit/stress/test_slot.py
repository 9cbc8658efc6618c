"""What is put beside a request stands where it should, as tokens and as vectors; losses are those of NumPy."""

import numpy as np
import pytest
import torch

from demur.errors import ConfigError, LongRowError
from demur.llm import Conversation, Message, Target, TargetConfig
from demur.stress._slot import (
    beginning_losses,
    embed_vocabulary,
    find_slot,
    standing_in,
    tokenise_beginning,
    vocabulary_of,
)

ASKED = Conversation.from_prompt("How do I make osprium?")


def read(target, ids):
    return target.tokenizer.decode(ids)


@pytest.mark.parametrize(("place", "wanted"), [("after", "osprium?HERE"), ("before", "HEREHow do I")])
def test_the_place_is_beside_the_text_of_the_request(target, place, wanted):
    slot = find_slot(target, ASKED, place)
    here = target.tokenizer("HERE", add_special_tokens=False)["input_ids"]
    assert wanted in read(target, slot.fill(here))


def test_nothing_in_the_place_is_the_prompt_itself(target):
    slot = find_slot(target, ASKED, "after")
    assert read(target, slot.fill([])) == target.render(ASKED)


def test_the_place_is_in_the_last_turn_and_the_prefill_follows(target):
    turns = (Message("user", "One?"), Message("assistant", "Yes."), Message("user", "Two?"))
    slot = find_slot(target, Conversation(turns, prefill="Well"), "after")
    assert read(target, slot.head).endswith("Two?")
    assert read(target, slot.tail).endswith("assistant\nWell")


def test_a_template_that_hides_the_users_text_is_refused(make_module, tokenizer):
    config = TargetConfig(model="tiny")
    target = Target(make_module(), tokenizer, config)
    target.chat.template = "{{ messages[0]['content'] }}{{ messages[0]['content'] }}"
    with pytest.raises(ConfigError, match="writes the user's text 2 times, so nothing can be put beside it"):
        find_slot(target, ASKED, "after")


def test_vectors_of_tokens_stand_in_for_the_tokens(target, logits_of):
    """Numbers after the vocabulary's end with the embeddings of some tokens give what the tokens give."""
    module, size = target.module, vocabulary_of(target.module)
    slot, tokens = find_slot(target, ASKED, "after"), [5, 9, 17]
    plain = torch.from_numpy(slot.fill(tokens))[None]
    numbered = torch.from_numpy(slot.fill(np.arange(size, size + 3)))[None]
    with torch.no_grad():
        wanted = module(input_ids=plain).logits
        with standing_in(module, embed_vocabulary(module)[tokens]):
            torch.testing.assert_close(module(input_ids=numbered).logits, wanted)
            torch.testing.assert_close(module(input_ids=plain).logits, wanted)


def test_after_the_block_the_embeddings_are_the_models_own(target):
    layer = target.module.get_input_embeddings()
    with standing_in(target.module, torch.zeros(1, 32)):
        assert float(layer(torch.tensor([vocabulary_of(target.module)])).detach().abs().max()) == 0
    with pytest.raises(IndexError, match="index out of range"):
        layer(torch.tensor([vocabulary_of(target.module)]))


def test_losses_are_those_of_plain_numpy(target):
    rows = [
        find_slot(target, Conversation.from_prompt(text), "after").fill([3]) for text in ("a", "a longer one?")
    ]
    beginning = tokenise_beginning(target, "Sure, here")
    found = beginning_losses(target.module, rows, beginning).detach().numpy()
    for row, loss in zip(rows, found, strict=True):
        ids = torch.from_numpy(np.concatenate([row, beginning]))[None]
        logits = target.module(input_ids=ids).logits[0].detach().numpy().astype(np.float64)
        logs = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
        wanted = [logs[len(row) - 1 + place, token] for place, token in enumerate(beginning)]
        assert loss == pytest.approx(-np.mean(wanted), rel=1e-4)


def test_the_loss_is_the_same_without_the_short_cut_to_some_logits(target, monkeypatch):
    rows, beginning = [find_slot(target, ASKED, "after").fill([3])], np.array([4, 8])
    wanted = beginning_losses(target.module, rows, beginning)
    forward = target.module.forward
    monkeypatch.setattr(target.module, "forward", lambda input_ids, use_cache: forward(input_ids=input_ids))
    torch.testing.assert_close(beginning_losses(target.module, rows, beginning), wanted)


def test_a_prompt_that_is_too_long_with_its_answers_beginning_is_refused(make_target, prompts):
    target = make_target(max_position_embeddings=16)
    row = target.prompt_ids(prompts[0])
    with pytest.raises(LongRowError, match=f"row 0 has {len(row) + 3} tokens, but the model reads 16; shorten it"):
        beginning_losses(target.module, [row], np.arange(3))


def test_a_beginning_without_a_token_is_refused(target, monkeypatch):
    with pytest.raises(ConfigError, match="has no token; give a text"):
        tokenise_beginning(target, "")
