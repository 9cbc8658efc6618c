"""Every matrix that writes into the residual stream is found, in models of several makes."""

import pytest
import torch

from demur.errors import ConfigError
from demur.llm._writers import find_embeddings, find_matrices, find_post_norms, find_writing_parts, hidden_size


def names_of(net):
    return [one.name for one in find_matrices(net)]


def test_a_llama_writes_by_its_embedding_and_two_matrices_a_block(make_module):
    net = make_module()
    assert [name for name, _ in find_embeddings(net)] == ["model.embed_tokens"]
    assert names_of(net) == [f"{n}.{part}" for n in range(3) for part in ("self_attn.o_proj", "mlp.down_proj")]
    assert {(one.tensor.shape[one.axis], one.axis) for one in find_matrices(net)} == {(32, 0)}


def test_an_adapter_writes_by_its_second_halves_too(make_module, add_adapter):
    net = add_adapter(make_module())
    assert "0.self_attn.o_proj.lora_B.default" in names_of(net)
    assert len(names_of(net)) == 12


def test_gpt2_keeps_its_matrices_the_other_way_round_and_writes_biases_and_places():
    from transformers import GPT2Config, GPT2LMHeadModel

    net = GPT2LMHeadModel(GPT2Config(n_layer=1, n_head=2, n_embd=8, vocab_size=20))
    assert [name for name, _ in find_embeddings(net)] == ["transformer.wte", "transformer.wpe"]
    found = {one.name: one.axis for one in find_matrices(net)}
    assert found == {"0.attn.c_proj": 1, "0.attn.c_proj.bias": 0, "0.mlp.c_proj": 1, "0.mlp.c_proj.bias": 0}


def test_experts_write_by_one_tensor():
    from transformers import Qwen3MoeConfig, Qwen3MoeForCausalLM

    config = Qwen3MoeConfig(
        vocab_size=20, hidden_size=8, intermediate_size=12, moe_intermediate_size=6, num_hidden_layers=1,
        num_attention_heads=2, num_key_value_heads=1, head_dim=4, num_experts=3, num_experts_per_tok=2,
    )  # fmt: skip
    found = {one.name: tuple(one.tensor.shape) for one in find_matrices(Qwen3MoeForCausalLM(config))}
    assert found == {"0.self_attn.o_proj": (8, 8), "0.mlp.experts.down_proj": (3, 8, 6)}


def test_norms_after_what_is_written_are_found_where_a_model_has_them(make_module):
    from transformers import Gemma2Config, Gemma2ForCausalLM

    config = Gemma2Config(
        vocab_size=20, hidden_size=8, intermediate_size=12, num_hidden_layers=1, num_attention_heads=2,
        num_key_value_heads=1, head_dim=4,
    )  # fmt: skip
    (block,) = Gemma2ForCausalLM(config).model.layers
    assert find_post_norms(block) == [block.post_attention_layernorm, block.post_feedforward_layernorm]
    assert find_writing_parts(block, 8)[:2] == [block.self_attn, block.mlp]
    llama = make_module()
    assert find_post_norms(llama.model.layers[0]) == []
    assert find_writing_parts(llama.model.layers[0], hidden_size(llama))[-1] is llama.model.layers[0].mlp


def test_a_model_of_unknown_names_is_refused(make_module):
    net = make_module()
    net.model.layers[1].mlp.away = net.model.layers[1].mlp.down_proj
    del net.model.layers[1].mlp.down_proj
    with pytest.raises(ConfigError, match=r"block 1 of the llama model has no two.*found: self_attn\.o_proj"):
        find_matrices(net)


def test_quantised_weights_are_refused(make_module):
    net = make_module()
    whole = net.model.layers[0].mlp.down_proj
    whole.weight = torch.nn.Parameter(whole.weight.to(torch.int8), requires_grad=False)
    with pytest.raises(ConfigError, match=r"'mlp\.down_proj' is quantised .* load the model in bf16 or fp32"):
        find_matrices(net)


def test_a_dora_adapter_is_refused(make_module, add_adapter):
    with pytest.raises(ConfigError, match=r"DoRA adapter on 'self_attn\.o_proj' .*; merge it first"):
        find_matrices(add_adapter(make_module(), use_dora=True))
