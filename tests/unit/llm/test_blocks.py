"""Layers are numbers or shares of the depth, and the blocks are found whatever is around them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from demur.errors import ConfigError
from demur.llm import find_blocks, resolve_layers
from demur.llm._blocks import check_layers


@pytest.mark.parametrize(
    ("layers", "depth", "wanted"),
    [
        ([0.31, 0.62], 32, (10, 20)),
        ([0.31, 0.62], 30, (9, 19)),
        ([20, 10, 10], 32, (10, 20)),
        ([0, 1.0], 4, (0, 4)),
        ([0.01], 4, (1,)),
        ([1], 4, (1,)),
        ([3, 0.5], 4, (2, 3)),
    ],
)
def test_fractions_are_of_the_depth_and_whole_numbers_are_themselves(layers, depth, wanted):
    assert resolve_layers(layers, depth) == wanted


@given(st.lists(st.floats(0, 1), min_size=1, max_size=9), st.integers(1, 100))
def test_any_fraction_is_a_layer(layers, depth):
    found = resolve_layers(layers, depth)
    assert list(found) == sorted(set(found))
    assert 0 <= found[0] <= found[-1] <= depth


@pytest.mark.parametrize("layer", [-1, 5, 1.5, -0.5])
def test_a_layer_beyond_the_depth_is_refused(layer):
    with pytest.raises(ConfigError, match=rf"layer {layer} is asked for, but the model has 4 blocks; give whole"):
        resolve_layers([layer], 4)


def test_no_layer_is_refused():
    with pytest.raises(ConfigError, match="no layer is given"):
        resolve_layers([], 4)
    with pytest.raises(ConfigError, match="no layer is given"):
        check_layers([], 4)


def test_the_blocks_are_found_below_an_adapter(make_module, add_adapter):
    net = make_module()
    blocks = net.model.layers
    assert find_blocks(net) is blocks
    assert find_blocks(add_adapter(net)) is blocks


def test_blocks_of_gpt2_are_found():
    from transformers import GPT2Config, GPT2LMHeadModel

    net = GPT2LMHeadModel(GPT2Config(n_layer=2, n_head=2, n_embd=8, vocab_size=20))
    assert find_blocks(net) is net.transformer.h


def test_a_model_without_blocks_is_refused(make_module):
    net = make_module()
    net.config.num_hidden_layers = 7
    with pytest.raises(ConfigError, match="no list of 7 blocks is found in the llama model"):
        find_blocks(net)
