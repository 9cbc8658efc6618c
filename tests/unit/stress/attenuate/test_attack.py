"""At 0 the base, at 1 the defended model, between them their mixture; everything is put back."""

import numpy as np
import pytest
import torch

from demur.errors import UsageError
from demur.stress import Material, Setting
from demur.stress.attenuate import AttenuateAttack, AttenuateConfig


def under(target, prompt, logits_of, base=None, **values):
    attack = AttenuateAttack(AttenuateConfig(**values))
    stages = attack.stages(target, Setting(Material(), base=base))
    return {stage.label: logits_of(stage.target, prompt) for stage in stages}


def lora_layers(module):
    return {name: part for name, part in module.named_modules() if hasattr(part, "lora_A")}


def test_a_factor_of_0_is_the_base_and_1_the_adapter_bit_for_bit(make_target, add_adapter, prompts, logits_of):
    target = add_adapter(make_target())
    found = under(target, prompts[0], logits_of, factors=(0.0, 1.0))
    assert torch.equal(found["factor=1"], logits_of(target, prompts[0]))
    assert torch.equal(found["factor=0"], logits_of(make_target(), prompts[0]))


def test_a_factor_scales_what_the_adapter_adds(make_target, add_adapter, prompts, logits_of):
    """Against weights merged by NumPy."""
    target, plain = add_adapter(make_target()), make_target()
    found = under(target, prompts[0], logits_of, factors=(0.25,))["factor=0.25"]
    parts = dict(plain.module.named_modules())
    for name, layer in lora_layers(target.module).items():
        b, a = (
            half["default"].weight.detach().numpy().astype(np.float64) for half in (layer.lora_B, layer.lora_A)
        )
        weight = parts[name.removeprefix("base_model.model.")].weight
        weight.data += 0.25 * layer.scaling["default"] * torch.from_numpy(b @ a).float()
    torch.testing.assert_close(found, logits_of(plain, prompts[0]), atol=1e-4, rtol=1e-4)


def test_the_adapter_is_what_it_was_afterwards(make_target, add_adapter, prompts, logits_of):
    target = add_adapter(make_target())
    before = logits_of(target, prompts[0])
    under(target, prompts[0], logits_of, factors=(0.0, 0.1, 0.7))
    assert torch.equal(logits_of(target, prompts[0]), before)
    iterator = AttenuateAttack(AttenuateConfig(factors=(0.3,))).stages(target, Setting(Material()))
    next(iterator)
    iterator.close()
    assert torch.equal(logits_of(target, prompts[0]), before)


def test_a_merged_defence_is_moved_towards_its_base(make_target, weights_of, same_weights):
    target, base = make_target(seed=1), make_target(seed=2)
    ours, theirs = weights_of(target.module), weights_of(base.module)
    attack = AttenuateAttack(AttenuateConfig(factors=(0.0, 0.25, 1.0)))
    for stage in attack.stages(target, Setting(Material(), base=base)):
        factor = float(stage.label.removeprefix("factor="))
        for name, tensor in weights_of(stage.target.module).items():
            wanted = factor * ours[name].double() + (1 - factor) * theirs[name].double()
            torch.testing.assert_close(tensor.double(), wanted, atol=1e-6, rtol=1e-6)
        assert same_weights(target.module, {0.0: theirs, 1.0: ours}[factor]) if factor in (0, 1) else True
    assert same_weights(target.module, ours)


def test_the_least_change_comes_first(make_target, add_adapter):
    stages = AttenuateAttack().stages(add_adapter(make_target()), Setting(Material()))
    assert [stage.label for stage in stages] == ["factor=0.75", "factor=0.5", "factor=0.25", "factor=0"]


def test_an_adapter_that_is_no_sum_is_refused(make_target, add_adapter):
    target = add_adapter(make_target(), use_dora=True)
    with pytest.raises(UsageError, match="does more than add to the weights, so it cannot be scaled; set factors"):
        list(AttenuateAttack().stages(target, Setting(Material())))


def test_an_adapter_that_keeps_a_layer_whole_is_refused(make_target, add_adapter):
    target = add_adapter(make_target(tie_word_embeddings=False), modules_to_save=["lm_head"])
    with pytest.raises(UsageError, match="does more than add to the weights"):
        list(AttenuateAttack().stages(target, Setting(Material())))


def test_a_base_of_other_shapes_is_refused(make_target):
    base = make_target(hidden_size=16)
    with pytest.raises(UsageError, match="do not have the same weights by name and shape"):
        list(AttenuateAttack().stages(make_target(), Setting(Material(), base=base)))


def test_without_an_adapter_and_a_base_it_is_refused(target):
    with pytest.raises(UsageError, match="no defence to turn down in 'tiny'"):
        list(AttenuateAttack().stages(target, Setting(Material())))
