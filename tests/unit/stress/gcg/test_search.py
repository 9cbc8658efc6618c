"""Gradients are those of the one-hot coding; candidates differ in one token that can be typed; the loss falls."""

import numpy as np
import pytest
import torch

from demur.errors import ConfigError
from demur.stress._slot import beginning_losses, find_slot, standing_in, tokenise_beginning, vocabulary_of
from demur.stress.gcg import GcgConfig
from demur.stress.gcg._search import SuffixSearch, SuffixState, find_allowed


@pytest.fixture
def search(target, material):
    def make(**values):
        config = GcgConfig(**{"tokens": 5, "candidates": 12, "top_k": 20, "prompts": 3, "batch_size": 7} | values)
        slots = [find_slot(target, one, "after") for one in material.harmful_prompts[: config.prompts]]
        allowed = find_allowed(target, only_ascii=True)
        return SuffixSearch(target, slots, tokenise_beginning(target, "Sure."), config, allowed)

    return make


def test_the_gradient_by_the_one_hot_coding_is_that_of_finite_differences(target, search):
    target.module.double()
    found, module = search(), target.module
    found._table = found._table.double()
    ids = found.begin().ids
    size = vocabulary_of(module)
    numbers = np.arange(size, size + 5)

    def loss(coding):
        with torch.no_grad(), standing_in(module, coding @ module.get_input_embeddings().weight):
            rows = [slot.fill(numbers) for slot in found.slots]
            return float(beginning_losses(module, rows, found.beginning).mean())

    gradient = found.gradients(ids)
    coding = torch.nn.functional.one_hot(torch.from_numpy(ids), size).double()
    for place in [(0, 3), (2, 100), (4, int(ids[4]))]:
        high, low = coding.clone(), coding.clone()
        high[place] += 1e-3
        low[place] -= 1e-3
        assert gradient[place] == pytest.approx((loss(high) - loss(low)) / 2e-3, rel=2e-2, abs=1e-4)


def test_candidates_differ_in_one_token_among_the_most_promising(search):
    found = search()
    ids = found.begin().ids
    gradients = found.gradients(ids)
    tried = found.draw_candidates(ids, gradients, np.random.default_rng(0))
    assert len(tried) == 12
    for one in tried:
        (place,) = np.flatnonzero(one != ids)
        allowed = np.where(found._forbidden, np.inf, gradients[place])
        allowed[ids[place]] = np.inf
        assert one[place] in np.argsort(allowed, kind="stable")[:20]
        assert found.is_text(one)


def test_losses_are_means_over_the_prompts(target, search):
    found = search()
    suffixes = np.stack([found.begin().ids, np.arange(40, 45)])
    wanted = [
        float(
            beginning_losses(target.module, [slot.fill(one) for slot in found.slots], found.beginning)
            .mean()
            .detach()
        )
        for one in suffixes
    ]
    np.testing.assert_allclose(found.losses(suffixes), wanted, rtol=1e-4)


def test_the_loss_falls_and_the_best_is_kept(search):
    found = search(candidates=24)
    state = found.begin()
    for _ in range(9):
        found.advance(state, seed=0)
    assert state.step == 8
    assert state.best_loss == min(state.curve) < state.curve[0]
    assert found.losses(state.best[None])[0] == pytest.approx(state.best_loss, rel=1e-5)


def test_a_swap_that_is_read_otherwise_is_not_tried(target, search, monkeypatch):
    found = search()
    ids = found.begin().ids
    monkeypatch.setattr(found, "is_read_back", lambda slot, one: False)
    np.testing.assert_array_equal(
        found.draw_candidates(ids, found.gradients(ids), np.random.default_rng(0)), ids[None]
    )


def test_where_a_tokenizer_reads_no_text_as_its_pieces_the_suffix_alone_must_do(search):
    found = search()
    found._is_strict = False
    ids = found.begin().ids
    assert found.is_text(ids) == found.is_text(ids)
    assert len(found.draw_candidates(ids, found.gradients(ids), np.random.default_rng(0))) == 12


def test_only_tokens_that_can_be_typed_are_allowed(target):
    tokenizer = target.tokenizer
    allowed = find_allowed(target, only_ascii=True)
    texts = [tokenizer.decode([token]) for token in np.flatnonzero(allowed)]
    assert all(text.isascii() and text.isprintable() for text in texts)
    assert not any(allowed[token] for token in tokenizer.added_tokens_decoder)
    assert len(allowed) == vocabulary_of(target.module)


def test_embeddings_beyond_the_tokenizer_are_not_allowed(make_target, tokenizer):
    allowed = find_allowed(make_target(vocab_size=len(tokenizer) + 7), only_ascii=False)
    assert allowed[: len(tokenizer)].any()
    assert not allowed[len(tokenizer) :].any()


def test_a_tokenizer_without_text_is_refused(target, monkeypatch):
    monkeypatch.setattr(type(target.tokenizer), "batch_decode", lambda self, rows, **_: ["" for _ in rows])
    with pytest.raises(ConfigError, match="no tokens that a suffix could be made of; set only_ascii: false"):
        find_allowed(target, only_ascii=True)


def test_cost_is_a_backward_pass_and_the_trials(target, search):
    found = search()
    state = found.begin()
    found.advance(state, 0)
    tokens = sum(len(slot.fill(state.ids)) + len(found.beginning) for slot in found.slots)
    assert found.meter.flops == 2 * found.meter.parameters * tokens
    found.advance(state, 0)
    assert found.meter.flops == (2 + 4 + 2 * 12) * found.meter.parameters * tokens


def test_a_state_is_read_back_as_it_was(search):
    found = search()
    state = found.begin()
    found.advance(state, 0)
    again = SuffixState.from_arrays(state.to_arrays())
    assert (again.best_loss, again.curve) == (state.best_loss, state.curve)
    np.testing.assert_array_equal(again.ids, state.ids)
