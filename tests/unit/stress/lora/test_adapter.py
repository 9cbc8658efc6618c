import pytest
import torch

from demur.errors import ConfigError
from demur.stress.lora import LoraConfig, put_lora, update_norms


def test_a_fresh_adapter_changes_nothing(target):
    with put_lora(target, LoraConfig(rank=2), 0) as tuned:
        assert set(update_norms(tuned.parameters, 1.0).values()) == {0.0}


def test_norms_are_those_of_the_updates_written_out(target):
    with put_lora(target, LoraConfig(rank=3, scale=2.0), 0) as tuned:
        with torch.no_grad():
            for number, one in enumerate(tuned.parameters.values()):
                one.copy_(torch.randn(one.shape, generator=torch.Generator().manual_seed(number)))
        found = update_norms(tuned.parameters, 2.0)
        for layer, norm in found.items():
            part = tuned.target.module.get_submodule(layer)
            assert norm == pytest.approx(part.get_delta_weight("default").norm().item(), rel=1e-5)
    assert len(found) == 14


def test_layers_may_be_named(target):
    with put_lora(target, LoraConfig(modules=("q_proj",)), 0) as tuned:
        assert all(".q_proj." in name for name in tuned.parameters)


def test_layers_that_are_not_there_are_refused(target):
    wanted = r"LoRA cannot be put on 'tiny' \(.*\); give modules that the model has, or all-linear"
    with pytest.raises(ConfigError, match=wanted), put_lora(target, LoraConfig(modules=("nowhere",)), 0):
        pass


def test_flags_and_layers_are_as_before_after_an_error(target):
    kinds = [type(one) for one in target.module.modules()]
    with pytest.raises(ZeroDivisionError, match="division"), put_lora(target, LoraConfig(), 0):
        _ = 1 / 0
    assert [type(one) for one in target.module.modules()] == kinds
    assert all(one.requires_grad for one in target.module.parameters())
