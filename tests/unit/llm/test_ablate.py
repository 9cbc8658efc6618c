"""A direction that is taken out is out: of every vector of the stream, and by weights as by hooks."""

import numpy as np
import pytest
import torch

from demur.errors import ConfigError, UsageError
from demur.llm import (
    Conversation,
    GenerationConfig,
    ablate_activations,
    ablate_weights,
    refusal_direction,
    refusal_directions,
)

LAYERS = range(4)


@pytest.fixture
def rows(target, conversations):
    return [target.prompt_ids(one) for one in conversations]


@pytest.fixture
def direction():
    return np.random.default_rng(0).normal(size=32).astype(np.float32)


def logits_of(net, row):
    with torch.no_grad():
        return net(torch.from_numpy(row).long()[None]).logits[0].numpy()


def test_a_direction_is_the_difference_of_the_means_at_the_last_token(target):
    refused, answered = ([Conversation.from_prompt(f"{word} {n}") for n in range(4)] for word in ("tea", "bread"))
    found = refusal_direction(target, refused, answered, 2)
    means = []
    for asked in (refused, answered):
        states = []
        for one in asked:
            with torch.no_grad():
                ids = torch.from_numpy(target.prompt_ids(one)).long()[None]
                states.append(target.module(ids, output_hidden_states=True).hidden_states[2][0, -1].numpy())
        means.append(np.mean(states, axis=0))
    wanted = means[0] - means[1]
    np.testing.assert_allclose(found, wanted / np.linalg.norm(wanted), atol=1e-5)
    assert found.dtype == np.float32


def test_several_layers_are_those_of_each(target, conversations):
    every = refusal_directions(target, conversations[:3], conversations[3:], [1, 3])
    for place, layer in enumerate((1, 3)):
        one = refusal_direction(target, conversations[:3], conversations[3:], layer)
        np.testing.assert_allclose(every[place], one, atol=1e-5)


def test_ablated_activations_have_no_part_along_the_direction(target, rows, direction):
    with ablate_activations(target, direction):
        states = target.hidden_states(rows, list(LAYERS), "all")
    unit = direction / np.linalg.norm(direction)
    for one in states:
        assert np.abs(one @ unit).max() < 1e-5
        assert np.abs(one).max() > 0.1


def test_ablation_takes_out_what_a_projection_by_hand_takes_out(target, rows, direction):
    """The embedding and what attention and MLP of the first block write, projected step by step."""
    net, unit = target.module, direction / np.linalg.norm(direction)
    take_out = torch.eye(32) - torch.from_numpy(np.outer(unit, unit))
    ids = torch.from_numpy(rows[2]).long()[None]
    block = net.model.layers[0]
    with torch.no_grad():
        stream = net.model.embed_tokens(ids) @ take_out
        places = net.model.rotary_emb(stream, torch.arange(ids.shape[1])[None])
        mask = torch.full((ids.shape[1],) * 2, -torch.inf).triu(1)[None, None]
        said = block.self_attn(block.input_layernorm(stream), position_embeddings=places, attention_mask=mask)[0]
        stream = stream + said @ take_out
        stream = stream + block.mlp(block.post_attention_layernorm(stream)) @ take_out
    with ablate_activations(target, direction):
        (found,) = target.hidden_states([rows[2]], [1], "all")
    np.testing.assert_allclose(found[:, 0], stream[0].numpy(), atol=1e-4)


@pytest.mark.parametrize("tied", [False, True], ids=["apart", "tied"])
@pytest.mark.parametrize("adapted", [False, True], ids=["bare", "adapter"])
def test_ablated_weights_do_what_ablated_activations_do(make_target, add_adapter, rows, direction, tied, adapted):
    target = make_target(tie_word_embeddings=tied)
    target = target.with_module(add_adapter(target.module)) if adapted else target
    with ablate_activations(target, direction):
        wanted = [logits_of(target.module, row) for row in rows]
    plain = logits_of(target.module, rows[0])
    report = ablate_weights(target.module, direction)
    for row, one in zip(rows, wanted, strict=True):
        np.testing.assert_allclose(logits_of(target.module, row), one, atol=2e-4)
    assert np.abs(plain - wanted[0]).max() > 0.1
    assert report.output == ("untied" if tied else "apart")
    assert report.is_exact
    assert len(report.matrices) == 1 + 6 * (2 if adapted else 1)


def test_a_tied_output_is_changed_where_that_is_wanted(make_target, rows, direction):
    target = make_target(tie_word_embeddings=True)
    report = ablate_weights(target.module, direction, tied="change")
    assert report.output == "changed"
    assert not report.is_exact
    assert target.module.lm_head.weight is target.module.model.embed_tokens.weight
    (states,) = target.hidden_states(rows[:1], [0, 3], "all")
    assert np.abs(states @ direction).max() < 1e-3


def test_an_untied_model_is_saved_and_loaded_untied(make_target, rows, direction, tmp_path):
    from transformers import AutoModelForCausalLM

    target = make_target(tie_word_embeddings=True)
    ablate_weights(target.module, direction)
    target.module.save_pretrained(str(tmp_path))
    again = AutoModelForCausalLM.from_pretrained(str(tmp_path), local_files_only=True)
    np.testing.assert_allclose(logits_of(again, rows[0]), logits_of(target.module, rows[0]), atol=1e-5)


def test_several_directions_are_taken_out_together(target, rows):
    space = np.random.default_rng(1).normal(size=(3, 32))
    with ablate_activations(target, space):
        wanted = logits_of(target.module, rows[0])
        states = target.hidden_states(rows, list(LAYERS), "last")
    assert np.abs(states @ space.T).max() < 1e-4
    ablate_weights(target.module, space)
    np.testing.assert_allclose(logits_of(target.module, rows[0]), wanted, atol=2e-4)


def test_activations_come_back_after_the_block(target, rows, direction):
    before = logits_of(target.module, rows[0])
    with pytest.raises(KeyError, match="inside"), ablate_activations(target, direction):
        raise KeyError("inside")
    np.testing.assert_array_equal(logits_of(target.module, rows[0]), before)


def test_an_ablated_model_writes_the_same_in_batches(target, conversations, direction):
    config = GenerationConfig(max_new_tokens=6)
    with ablate_activations(target, direction):
        alone = [target.generate([one], config)[0] for one in conversations]
        assert target.generate(conversations, config) == alone


def test_gpt2_is_ablated_with_its_biases_and_places(direction):
    from transformers import GPT2Config, GPT2LMHeadModel

    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = GPT2LMHeadModel(GPT2Config(n_layer=2, n_head=2, n_embd=32, vocab_size=40, n_positions=16)).eval()
        for part in net.transformer.h:
            torch.nn.init.normal_(part.mlp.c_proj.bias)
    ablate_weights(net, direction)
    with torch.no_grad():
        states = net(torch.arange(8)[None], output_hidden_states=True).hidden_states[:2]
    assert max(float((one @ torch.from_numpy(direction)).abs().max()) for one in states) < 1e-4


def test_a_model_that_norms_what_it_writes_is_ablated_by_hooks_alone(direction):
    from transformers import Gemma2Config, Gemma2ForCausalLM

    from demur.llm import watch_layers

    config = Gemma2Config(
        vocab_size=40, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=2,
        num_key_value_heads=1, head_dim=16,
    )  # fmt: skip
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = Gemma2ForCausalLM(config).eval()
        for name, weight in net.named_parameters():
            if "post_" in name:
                torch.nn.init.normal_(weight)
    seen = {}

    class Wrapped:
        module = net

    with ablate_activations(Wrapped(), direction), torch.no_grad():
        for layer in (1, 2):
            with watch_layers(net, [layer], seen.__setitem__):
                net(torch.arange(8)[None])
    assert max(float((one @ torch.from_numpy(direction)).abs().max()) for one in seen.values()) < 1e-3
    assert not ablate_weights(net, direction).is_exact


def test_ablation_in_half_precision_keeps_the_type(make_target, direction):
    target = make_target()
    target.module.bfloat16()
    ablate_weights(target.module, direction)
    assert {one.dtype for one in target.module.parameters()} == {torch.bfloat16}


def test_a_report_is_a_json_object(target, direction):
    found = ablate_weights(target.module, direction).to_json()
    assert found["matrices"][0] == "model.embed_tokens"
    assert (found["output"], found["is_exact"]) == ("apart", True)


def test_one_kind_alone_has_no_direction(target, conversations):
    with pytest.raises(UsageError, match="there is no answered request; give some of both kinds"):
        refusal_direction(target, conversations, [], 2)


def test_requests_that_look_the_same_have_no_direction(target, conversations):
    with pytest.raises(UsageError, match="look the same at layer 2"):
        refusal_direction(target, conversations, conversations, 2)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (np.ones(31), r"shape \(31,\), .* is 32 wide"),
        (np.zeros(32), "is zero"),
        (np.ones((2, 32)), "made of the others"),
        (np.full(32, np.nan), "holds NaN or infinity"),
        (np.full(32, np.inf), "holds NaN or infinity"),
    ],
)
def test_a_direction_that_is_none_is_refused(target, wrong, said):
    with pytest.raises(ConfigError, match=said):
        ablate_weights(target.module, wrong)
    with pytest.raises(ConfigError, match=said), ablate_activations(target, wrong):
        pass
