"""Perplexity and KL divergence are what plain NumPy makes of each row's own logits."""

import numpy as np
import pytest
import torch

from demur.errors import ConfigError, LongRowError, NoMemoryError, UsageError
from demur.llm import Conversation, Message, perplexity, token_kl


@pytest.fixture
def answered(conversations):
    return [
        one.answer(text) for one, text in zip(conversations, ["sorry no", "here is tea", "yes"] * 2, strict=True)
    ]


@pytest.fixture
def rows(target, answered):
    return [target.encode(one) for one in answered]


def log_softmax(net, ids):
    """``(t, v)`` of a row alone, in float64."""
    with torch.no_grad():
        logits = net(torch.from_numpy(ids).long()[None]).logits[0].numpy().astype(np.float64)
    logits -= logits.max(axis=1, keepdims=True)
    return logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))


def test_perplexity_is_that_of_the_assistants_tokens(target, answered, rows):
    found = perplexity(target, answered)
    for number, row in enumerate(rows):
        places = np.flatnonzero(row.assistant)
        nll = -log_softmax(target.module, row.ids)[places - 1, row.ids[places]]
        assert found.tokens[number] == len(places)
        np.testing.assert_allclose(found.nll[number], nll.mean(), rtol=1e-5)
    whole = np.exp((found.nll * found.tokens).sum() / found.tokens.sum())
    np.testing.assert_allclose(found.value, whole)


def test_every_token_but_the_first_can_be_scored(target, answered, rows):
    found = perplexity(target, answered, only_assistant=False)
    row = rows[3]
    nll = -log_softmax(target.module, row.ids)[np.arange(len(row) - 1), row.ids[1:]]
    assert found.tokens[3] == len(row) - 1
    np.testing.assert_allclose(found.nll[3], nll.mean(), rtol=1e-5)


def test_perplexity_of_one_batch_is_that_of_many(target, answered, monkeypatch):
    from demur.llm import _score

    wanted = perplexity(target, answered)
    monkeypatch.setattr(_score, "_LOGITS", 1)
    np.testing.assert_allclose(perplexity(target, answered).nll, wanted.nll, rtol=1e-5)


def test_kl_is_that_of_plain_numpy(target, make_target, rows):
    other = make_target(seed=1)
    found = token_kl(target, other, rows)
    wanted = []
    for row in rows:
        p, q = log_softmax(other.module, row.ids), log_softmax(target.module, row.ids)
        wanted.append((np.exp(p) * (p - q)).sum(axis=1)[np.flatnonzero(row.assistant) - 1])
    np.testing.assert_allclose(found.values, np.concatenate(wanted), rtol=1e-4)
    np.testing.assert_allclose(found.rows, [one.mean() for one in wanted], rtol=1e-4)
    np.testing.assert_allclose(found.first, [one[0] for one in wanted], rtol=1e-4)
    assert found.mean == pytest.approx(np.concatenate(wanted).mean(), rel=1e-4)
    assert found.p99 == pytest.approx(np.quantile(np.concatenate(wanted), 0.99), rel=1e-4)
    assert found.first_mean == pytest.approx(found.first.mean())


def test_a_model_does_not_diverge_from_itself(target, rows):
    assert token_kl(target, target, rows).values.max() < 1e-6


def test_an_adapter_is_compared_with_its_own_base(target, make_target, add_adapter, rows):
    adapted = make_target()
    adapted = adapted.with_module(add_adapter(adapted.module))
    found, wanted = token_kl(adapted, "adapters_off", rows), token_kl(adapted, target, rows)
    np.testing.assert_allclose(found.values, wanted.values, rtol=1e-4, atol=1e-7)
    assert found.mean > 0.01


def test_an_adapter_that_changes_nothing_does_not_diverge(make_target, add_adapter, rows):
    target = make_target()
    adapted = target.with_module(add_adapter(target.module, init_lora_weights=True))
    assert token_kl(adapted, "adapters_off", rows).values.max() == 0


def test_without_an_adapter_there_is_none_to_turn_off(target, rows):
    with pytest.raises(UsageError, match="'tiny' has no adapter to turn off"):
        token_kl(target, "adapters_off", rows)


def test_models_of_other_vocabularies_are_not_compared(target, make_target, rows):
    with pytest.raises(ConfigError, match="knows 320 tokens, the reference 330; compare models of one vocabulary"):
        token_kl(target, make_target(vocab_size=330), rows)


def test_models_that_always_give_all_logits_are_scored_too(target, answered, monkeypatch):
    wanted, forward = perplexity(target, answered), target.module.forward

    def plain(input_ids, use_cache=None):
        return forward(input_ids=input_ids, use_cache=use_cache)

    monkeypatch.setattr(target.module, "forward", plain)
    np.testing.assert_allclose(perplexity(target, answered).nll, wanted.nll, rtol=1e-5)


def test_a_row_in_which_the_assistant_is_silent_is_refused(target, answered):
    with pytest.raises(UsageError, match="says nothing in row 1; give conversations with its answers"):
        perplexity(target, [answered[0], Conversation((Message("user", "x"),))])


def test_figures_are_json_objects_with_and_without_rows(target, answered, rows):
    assert set(perplexity(target, answered).to_json()) == {"value", "nll", "tokens"}
    assert perplexity(target, []).to_json() == {"value": None, "nll": [], "tokens": []}
    assert token_kl(target, target, rows).to_json()["n_rows"] == 6
    empty = {"mean": None, "p99": None, "first_mean": None, "n_rows": 0, "n_tokens": 0}
    assert token_kl(target, target, []).to_json() == empty
    assert np.isnan(token_kl(target, target, []).first_mean)


def test_a_row_that_is_longer_than_the_model_reads_is_refused_or_cut(make_target, answered, rows):
    lengths = [len(row) for row in rows]
    most = max(lengths) - 2
    short = make_target(max_position_embeddings=most)
    message = rf"row {np.argmax(lengths)} has {max(lengths)} tokens, but the model reads {most}; shorten it"
    with pytest.raises(LongRowError, match=message):
        perplexity(short, answered)
    for target, reference in ((short, make_target()), (make_target(), short)):
        with pytest.raises(LongRowError, match=message):
            token_kl(target, reference, rows)
    cut = perplexity(short, answered, cut=True)
    assert cut.tokens.tolist() == [int(row.assistant[:most].sum()) for row in rows]
    assert cut.tokens.sum() < perplexity(make_target(), answered).tokens.sum()


def test_full_memory_is_one_sentence(target, answered, monkeypatch):
    def fail(**_):
        raise RuntimeError("CUDA error: out of memory")

    monkeypatch.setattr(target.module, "forward", fail)
    with pytest.raises(NoMemoryError, match="memory ran out while scoring texts; give shorter rows"):
        perplexity(target, answered)
