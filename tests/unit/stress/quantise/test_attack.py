"""The model computes with rounded weights while a stage is in force, and is what it was afterwards."""

import numpy as np
import pytest
import torch

from demur.errors import UsageError
from demur.stress import Material, Setting
from demur.stress.quantise import QuantiseAttack, QuantiseConfig
from demur.stress.quantise._attack import find_linears, quantising
from demur.stress.quantise._round import round_rows, round_weight


def stages(target, done=frozenset(), **values):
    return QuantiseAttack(QuantiseConfig(**values)).stages(target, Setting(Material(), done=done))


@pytest.mark.parametrize("bits", ["int8", "nf4", "int4"])
def test_linear_layers_hold_rounded_weights_and_nothing_else_changes(target, weights_of, bits):
    before = weights_of(target.module)
    for _ in stages(target, bits=(bits,)):
        for name, tensor in weights_of(target.module).items():
            is_rounded = "proj" in name
            wanted = round_weight(before[name], bits, QuantiseConfig()) if is_rounded else before[name]
            assert torch.equal(tensor, wanted)


def test_weights_and_answers_are_what_they_were_afterwards(target, prompts, weights_of, same_weights, logits_of):
    before, said = weights_of(target.module), logits_of(target, prompts[0])
    seen = [logits_of(stage.target, prompts[0]) for stage in stages(target)]
    assert all(not torch.equal(one, said) for one in seen)
    assert same_weights(target.module, before)
    assert torch.equal(logits_of(target, prompts[0]), said)


def test_closing_the_iterator_restores_too(target, prompts, weights_of, same_weights, logits_of):
    before, said = weights_of(target.module), logits_of(target, prompts[0])
    iterator = stages(target)
    next(iterator)
    iterator.close()
    assert same_weights(target.module, before)
    assert torch.equal(logits_of(target, prompts[0]), said)


def test_int8_rounds_what_goes_in_as_well(target):
    layer = find_linears(target.module)[0]
    states = torch.randn(1, 4, layer.in_features, generator=torch.Generator().manual_seed(0))
    with quantising(target.module, "int8", QuantiseConfig()):
        wanted = round_rows(states).numpy() @ layer.weight.detach().numpy().T
        np.testing.assert_allclose(layer(states).detach().numpy(), wanted, atol=1e-5)


def test_the_error_is_told_and_falls_with_the_bits(target):
    found = {stage.label: stage.notes["relative_error"] for stage in stages(target, bits=("int8", "nf4"))}
    assert 0 < found["bits=int8"] < 0.02 < found["bits=nf4"] < 0.2


def test_an_adapter_is_merged_first_as_it_would_be_shipped(make_target, add_adapter, weights_of, same_weights):
    target = add_adapter(make_target())
    before = weights_of(target.module)
    layer = next(part for part in target.module.modules() if hasattr(part, "lora_A"))
    merged = layer.get_base_layer().weight.detach() + layer.get_delta_weight("default").detach()
    for _ in stages(target, bits=("int4",)):
        torch.testing.assert_close(
            layer.get_base_layer().weight.detach(), round_weight(merged, "int4", QuantiseConfig())
        )
        assert layer.merged
    assert not layer.merged
    assert same_weights(target.module, before)


def test_an_adapter_can_be_left_whole(make_target, add_adapter, weights_of):
    target = add_adapter(make_target())
    before = weights_of(target.module)
    for _ in stages(target, bits=("int4",), merge=False):
        now = weights_of(target.module)
        assert all(torch.equal(now[name], before[name]) for name in before if "lora_" in name)
        assert any(not torch.equal(now[name], before[name]) for name in before)


def test_a_stage_that_was_measured_is_not_rounded_again(target, weights_of, same_weights):
    before = weights_of(target.module)
    for stage in stages(target, bits=("int8",), done=frozenset({(0, "bits=int8")})):
        assert stage.label == "bits=int8"
        assert same_weights(target.module, before)


def test_a_model_without_a_linear_layer_of_floats_is_refused(target):
    layer = find_linears(target.module)[0]
    layer.weight = torch.nn.Parameter(layer.weight.detach().to(torch.int8), requires_grad=False)
    with pytest.raises(UsageError, match="no linear layer of floats to round; load it in fp32"):
        list(stages(target))
