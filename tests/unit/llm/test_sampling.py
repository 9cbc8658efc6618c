"""Tokens are drawn as their probabilities say, by numbers that belong to a row alone."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from demur.llm import GenerationConfig
from demur.llm._sampling import draw_numbers, keep_tokens, pick_tokens


def random_logits(rows=4, tokens=50, seed=0):
    return torch.from_numpy(np.random.default_rng(seed).normal(0, 3, (rows, tokens)).astype(np.float32))


def spread(logits, config):
    """Probabilities ``(b, v)`` of every token."""
    kept, order = keep_tokens(logits, config)
    if order is not None:
        kept = torch.zeros_like(logits).scatter(-1, order, kept)
    return (kept / kept.sum(dim=-1, keepdim=True)).numpy()


def test_a_rows_numbers_do_not_depend_on_the_other_rows():
    config = GenerationConfig(max_new_tokens=9, seed=3)
    every = draw_numbers(config, range(5))
    np.testing.assert_array_equal(draw_numbers(config, [4, 2]), every[[4, 2]])
    assert len(np.unique(every)) == every.size
    assert (draw_numbers(GenerationConfig(max_new_tokens=9, seed=4), range(5)) != every).all()


def test_a_shorter_answer_draws_the_same_beginning():
    short, long = (draw_numbers(GenerationConfig(max_new_tokens=count), [1]) for count in (3, 9))
    np.testing.assert_array_equal(short, long[:, :3])


def test_no_temperature_takes_the_likeliest():
    logits = random_logits()
    picked = pick_tokens(logits, GenerationConfig(), torch.full((4,), 0.99))
    np.testing.assert_array_equal(picked, logits.numpy().argmax(axis=1))


@given(
    temperature=st.floats(0.2, 3),
    top_k=st.sampled_from([0, 1, 5, 200]),
    top_p=st.floats(0.05, 1),
    seed=st.integers(0, 99),
)
def test_what_may_be_drawn_is_what_transformers_keeps(temperature, top_k, top_p, seed):
    from transformers import TemperatureLogitsWarper, TopKLogitsWarper, TopPLogitsWarper

    logits = random_logits(seed=seed)
    scores = TemperatureLogitsWarper(temperature)(None, logits)
    scores = TopKLogitsWarper(top_k)(None, scores) if top_k else scores
    scores = TopPLogitsWarper(top_p)(None, scores) if top_p < 1 else scores
    config = GenerationConfig(temperature=temperature, top_k=top_k, top_p=top_p)
    np.testing.assert_allclose(spread(logits, config), scores.softmax(dim=-1).numpy(), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("changes", [{}, {"top_k": 7}, {"top_p": 0.8}, {"top_k": 9, "top_p": 0.7}])
def test_tokens_are_drawn_as_often_as_their_probabilities_say(changes):
    config = GenerationConfig(temperature=1.3, **changes)
    logits = random_logits(1).expand(20_000, -1)
    numbers = torch.from_numpy(np.random.default_rng(0).random(20_000))
    seen = np.bincount(pick_tokens(logits, config, numbers).numpy(), minlength=50) / 20_000
    wanted = spread(logits[:1], config)[0]
    np.testing.assert_allclose(seen, wanted, atol=0.012)
    assert (seen[wanted == 0] == 0).all()


@pytest.mark.parametrize("number", [0.0, 1 - 2**-53])
def test_the_outermost_numbers_draw_a_token_that_may_be_drawn(number):
    config = GenerationConfig(temperature=1, top_k=5, top_p=0.9)
    logits = random_logits()
    picked = pick_tokens(logits, config, torch.full((4,), number, dtype=torch.float64)).numpy()
    assert (spread(logits, config)[np.arange(4), picked] > 0).all()


def test_one_token_is_always_kept():
    logits = random_logits()
    config = GenerationConfig(temperature=1, top_p=1e-9)
    picked = pick_tokens(logits, config, torch.full((4,), 0.5, dtype=torch.float64))
    np.testing.assert_array_equal(picked, logits.argmax(dim=-1))
