"""Gradients are those of finite differences, steps go by their signs, and the loss falls from every start."""

import numpy as np
import pytest
import torch

from demur.stress._meter import Meter
from demur.stress._slot import embed_vocabulary, find_slot, tokenise_beginning
from demur.stress.soft_prompt import SoftPromptConfig
from demur.stress.soft_prompt._search import SoftSearch, SoftState


@pytest.fixture
def search(target, material):
    def make(module=None, **values):
        config = SoftPromptConfig(**{"tokens": 4, "restarts": 2, "batch_size": 3} | values)
        slots = [find_slot(target, one, config.place) for one in material.harmful_prompts]
        return SoftSearch(target, slots, tokenise_beginning(target, "Sure."), config, Meter(target.module))

    return make


def test_the_gradient_is_that_of_finite_differences(target, search):
    target.module.double()
    found = search()
    vectors = found.begin(0).vectors[0].astype(np.float64)
    meter = Meter(target.module)
    _, gradient = found.look(vectors, meter)
    for place in [(0, 0), (1, 7), (3, 31)]:
        high, low = vectors.copy(), vectors.copy()
        high[place] += 1e-4
        low[place] -= 1e-4
        slope = (found.look(high, meter)[0] - found.look(low, meter)[0]) / 2e-4
        assert gradient[place] == pytest.approx(slope, rel=1e-2, abs=1e-5)


@pytest.mark.parametrize("size", [1, 2, 100])
def test_batches_have_no_say_in_loss_and_gradient(search, size):
    one, other = search(batch_size=size), search(batch_size=3)
    vectors = one.begin(0).vectors[0]
    (loss, gradient), (loss_2, gradient_2) = (each.look(vectors, each.meter) for each in (one, other))
    assert loss == pytest.approx(loss_2, rel=1e-5)
    np.testing.assert_allclose(gradient, gradient_2, atol=1e-5)


def test_a_step_goes_by_the_sign_of_the_gradient(search):
    found = search(step_size=0.1)
    state = found.begin(0)
    found.advance(state)
    before = state.vectors.copy()
    gradients = np.stack([found.look(one, Meter(found.target.module))[1] for one in before])
    found.advance(state)
    np.testing.assert_allclose(before - state.vectors, 0.1 * found.deviation * np.sign(gradients), atol=1e-6)


def test_the_loss_falls_from_every_start(search):
    found = search(restarts=3)
    state = found.begin(0)
    for _ in range(16):
        found.advance(state)
    assert state.step == 15
    assert (state.best_loss < 0.95 * np.array(state.curve[0])).all()
    np.testing.assert_allclose(state.best_loss, np.min(state.curve, axis=0))
    again = [found.look(one, Meter(found.target.module))[0] for one in state.best]
    np.testing.assert_allclose(again, state.best_loss, rtol=1e-6)


def test_the_first_start_is_the_embeddings_of_the_text(target, search):
    found = search(start="Sure. Take", tokens=2)
    ids = target.tokenizer("Sure. Take", add_special_tokens=False)["input_ids"][:2]
    np.testing.assert_array_equal(found.begin(0).vectors[0], embed_vocabulary(target.module)[ids].numpy())


def test_other_starts_depend_on_the_seed_alone(search):
    found = search(restarts=3)
    starts = [found.begin(seed).vectors for seed in (0, 0, 1)]
    np.testing.assert_array_equal(starts[0], starts[1])
    assert not np.array_equal(starts[0][1], starts[2][1])
    assert not np.array_equal(starts[0][1], starts[0][2])


def test_the_models_weights_get_no_gradient(target, search):
    found = search()
    found.advance(found.begin(0))
    assert all(tensor.grad is None for tensor in target.module.parameters())


def test_cost_is_four_operations_a_parameter_and_token(target, search):
    found = search(restarts=1)
    found.advance(found.begin(0))
    tokens = sum(len(slot.fill(found.numbers)) + len(found.beginning) for slot in found.slots)
    assert (found.meter.tokens, found.meter.flops) == (tokens, 4 * found.meter.parameters * tokens)


def test_a_state_is_read_back_as_it_was(search):
    found = search()
    state = found.begin(0)
    found.advance(state)
    again = SoftState.from_arrays(state.to_arrays())
    assert again.curve == state.curve
    assert np.array_equal(again.vectors, state.vectors)
    assert torch.equal(torch.from_numpy(again.best_loss), torch.from_numpy(state.best_loss))
