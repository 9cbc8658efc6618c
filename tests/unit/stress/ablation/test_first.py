"""First tokens as the model itself gives them, and what they say of a refusal."""

import numpy as np
import pytest
import torch

from demur.llm import Conversation
from demur.stress.ablation._first import (
    find_refusing_tokens,
    first_log_probabilities,
    mean_kl,
    refusal_log_odds,
)


def logs(*rows):
    return np.log(np.array(rows))


@pytest.mark.parametrize("batch_size", [1, 2, 32])
def test_log_probabilities_are_those_of_one_prompt_at_a_time(target, prompts, logits_of, batch_size):
    asked = [*prompts, Conversation.from_prompt("a much longer question than the others, is it not?")]
    found = first_log_probabilities(target, asked, batch_size)
    for row, one in zip(found, asked, strict=True):
        wanted = torch.log_softmax(logits_of(target, one)[-1].double(), dim=-1)
        np.testing.assert_allclose(row, wanted.numpy(), atol=1e-4)


def test_refusing_tokens_are_those_likelier_after_prompts_to_refuse():
    refused, answered = logs([0.6, 0.3, 0.05, 0.05]), logs([0.1, 0.1, 0.4, 0.4])
    assert find_refusing_tokens(refused, answered).tolist() == [0, 1]
    assert find_refusing_tokens(refused, answered, most=1).tolist() == [0]


def test_tokens_that_hardly_differ_are_left_out():
    refused, answered = logs([0.6, 0.2001, 0.1999]), logs([0.3, 0.2, 0.5])
    assert find_refusing_tokens(refused, answered).tolist() == [0]


def test_log_odds_are_of_the_tokens_together():
    first = logs([0.5, 0.3, 0.2], [0.1, 0.1, 0.8])
    wanted = np.mean([np.log(0.8 / 0.2), np.log(0.2 / 0.8)])
    assert refusal_log_odds(first, np.array([0, 1])) == pytest.approx(wanted)


def test_log_odds_of_a_certain_refusal_are_finite():
    with np.errstate(divide="ignore"):
        assert np.isfinite(refusal_log_odds(logs([1.0, 0.0]), np.array([0])))


def test_kl_is_that_of_scipy_and_0_of_a_model_with_itself():
    from scipy.stats import entropy

    p, q = np.array([[0.5, 0.3, 0.2], [0.2, 0.2, 0.6]]), np.array([[0.1, 0.6, 0.3], [0.3, 0.3, 0.4]])
    assert mean_kl(np.log(p), np.log(q)) == pytest.approx(
        np.mean([entropy(*pair) for pair in zip(p, q, strict=True)])
    )
    assert mean_kl(np.log(p), np.log(p)) == 0
