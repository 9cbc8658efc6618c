"""Blocks are found, watched, left out and adapted."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from demur.errors import ConfigError
from demur.harden import LoraSettings
from demur.harden._blocks import attach_lora, find_stack, nudge_adapters

IDS = torch.tensor([[5, 6, 7, 8]])


@pytest.mark.parametrize("kind", ["llama", "gpt2", "neox"])
def test_watched_states_are_those_of_transformers(kind: str, make_model: Callable[..., Any]) -> None:
    model = make_model() if kind == "llama" else make_other(kind)
    stack, found = find_stack(model), {}
    with torch.no_grad(), stack.watch([1, 2], lambda state, values: found.update({state: values})):
        wanted = model(IDS, output_hidden_states=True).hidden_states
    for state in (1, 2):
        assert torch.equal(found[state], wanted[state])


def make_other(kind: str) -> torch.nn.Module:
    from transformers import GPT2Config, GPT2LMHeadModel, GPTNeoXConfig, GPTNeoXForCausalLM

    sizes = {"vocab_size": 40, "bos_token_id": 1, "eos_token_id": 2}
    if kind == "gpt2":
        return GPT2LMHeadModel(GPT2Config(n_embd=16, n_layer=3, n_head=2, n_positions=16, **sizes)).eval()
    return GPTNeoXForCausalLM(
        GPTNeoXConfig(hidden_size=16, num_hidden_layers=3, num_attention_heads=2, intermediate_size=16, **sizes)
    ).eval()


@pytest.mark.parametrize("kind", ["llama", "gpt2", "neox"])
def test_a_cut_model_runs_only_its_lower_blocks_and_is_whole_after(
    kind: str, make_model: Callable[..., Any]
) -> None:
    model = make_model() if kind == "llama" else make_other(kind)
    stack, ran = find_stack(model), []
    whole = list(stack.blocks)
    names = [name for name, _ in model.named_parameters()]
    for number, block in enumerate(whole):
        block.register_forward_hook(lambda *_, number=number: ran.append(number))
    with torch.no_grad(), stack.cut(2):
        stack.decoder(IDS)
    assert ran == [0, 1]
    assert list(stack.blocks) == whole
    assert [name for name, _ in model.named_parameters()] == names


def test_a_failure_inside_leaves_the_model_whole(make_model: Callable[..., Any]) -> None:
    stack = find_stack(make_model())
    with pytest.raises(RuntimeError, match="in between"), stack.cut(1):
        raise RuntimeError("in between")
    assert len(stack.blocks) == 3


def test_adapters_are_on_all_linear_layers_of_the_lower_blocks_alone(make_model: Callable[..., Any]) -> None:
    model = make_model()
    wrapped = attach_lora(model, find_stack(model), 2, LoraSettings(rank=2))
    trained = [name for name, one in wrapped.named_parameters() if one.requires_grad]
    assert {name.split("layers.")[1][0] for name in trained} == {"0", "1"}
    kinds = {name.split(".lora_")[0].rsplit(".", 1)[1] for name in trained}
    assert kinds == {"q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"}
    assert len(trained) == 2 * 7 * 2


def test_a_nudge_gives_the_first_step_a_direction(make_model: Callable[..., Any]) -> None:
    """Untouched adapters leave every cosine at its maximum; nudged ones have a gradient that no split changes."""
    from demur.harden._losses import rerouting_sum

    def gradient(size: float, rows: list[int]) -> torch.Tensor:
        model = make_model()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            wrapped = attach_lora(model, find_stack(model), 2, LoraSettings(rank=4, dropout=0.0))
            nudge_adapters(wrapped, size)
        stack = find_stack(model)
        ids = torch.arange(3, 43).reshape(4, 10)
        for row in rows:
            given = ids[row : row + 4 // len(rows)]
            with torch.no_grad(), wrapped.disable_adapter():
                base = stack.decoder(given)[0]
            rerouting_sum(stack.decoder(given)[0], base).backward()
        return torch.cat([one.grad.flatten() for name, one in wrapped.named_parameters() if ".lora_B." in name])

    assert gradient(0.0, [0]).norm() < 1e-4 * gradient(1e-3, [0]).norm()
    whole, split = gradient(1e-3, [0]), gradient(1e-3, [0, 1, 2, 3])
    assert (whole - split).norm() < 1e-2 * whole.norm()


def test_only_layers_of_given_names_are_adapted(make_model: Callable[..., Any]) -> None:
    model = make_model()
    wrapped = attach_lora(model, find_stack(model), 3, LoraSettings(rank=2, modules=("q_proj", "v_proj")))
    trained = [name for name, one in wrapped.named_parameters() if one.requires_grad]
    assert len(trained) == 3 * 2 * 2


def test_gpt2_whose_layers_are_convolutions_is_adapted_too() -> None:
    model = make_other("gpt2")
    with pytest.warns(UserWarning, match="fan_in_fan_out"):
        wrapped = attach_lora(model, find_stack(model), 1, LoraSettings(rank=2))
    trained = [name for name, one in wrapped.named_parameters() if one.requires_grad]
    assert trained
    assert all(".h.0." in name for name in trained)


def test_a_name_no_layer_has_is_refused_with_the_nearest(make_model: Callable[..., Any]) -> None:
    model = make_model()
    with pytest.raises(ConfigError, match=r"no linear layer 'q_prj' .*did you mean 'q_proj'"):
        attach_lora(model, find_stack(model), 1, LoraSettings(modules=("q_prj",)))


def test_blocks_outside_the_decoder_are_refused_in_a_sentence(
    make_model: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    model = make_model()
    for decoder in (None, model.lm_head):
        monkeypatch.setattr(type(model), "get_decoder", lambda self, found=decoder: found)
        with pytest.raises(
            ConfigError, match=r"blocks of the llama model are not inside .* such as Llama or Qwen"
        ):
            find_stack(model)


def test_scaling_adapters_scales_what_they_add(make_model: Callable[..., Any]) -> None:
    from demur.harden._blocks import scale_adapters

    model = make_model()
    wrapped = attach_lora(model, find_stack(model), 1, LoraSettings(rank=2, modules=("q_proj",), dropout=0.0))
    nudge_adapters(wrapped, 0.1)
    layer, given = find_stack(model).blocks[0].self_attn.q_proj, torch.ones(1, 32)
    with torch.no_grad():
        base, before = layer.base_layer(given), layer(given)
        scale_adapters(wrapped, 3.0)
        torch.testing.assert_close(layer(given) - base, 3 * (before - base), rtol=1e-4, atol=1e-6)
