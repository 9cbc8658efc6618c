"""Weights come back bit for bit: changed in place, untied, replaced, and after an error."""

import pytest
import torch

from demur.stress._restore import restoring


def test_weights_changed_in_place_come_back(target, weights_of, same_weights):
    before = weights_of(target.module)
    with restoring(target.module), torch.no_grad():
        for tensor in target.module.parameters():
            tensor.mul_(0.3).add_(float("nan"))
        assert not same_weights(target.module, before)
    assert same_weights(target.module, before)


def test_untied_embeddings_are_tied_again(make_target):
    module = make_target(tie_word_embeddings=True).module
    shared = module.get_input_embeddings().weight
    with restoring(module):
        module.lm_head.weight = torch.nn.Parameter(shared.detach().clone() + 1)
        module.config.tie_word_embeddings = False
    assert module.lm_head.weight is shared
    assert module.config.tie_word_embeddings is True


def test_weights_come_back_after_an_error(target, weights_of, same_weights):
    def fail():
        with restoring(target.module), torch.no_grad():
            target.module.get_input_embeddings().weight.zero_()
            raise ZeroDivisionError("zero")

    before = weights_of(target.module)
    with pytest.raises(ZeroDivisionError, match="zero"):
        fail()
    assert same_weights(target.module, before)


def test_an_adapter_comes_back_too(target, add_adapter, weights_of, same_weights):
    module = add_adapter(target).module
    before = weights_of(module)
    with restoring(module), torch.no_grad():
        for name, tensor in module.named_parameters():
            if "lora_B" in name:
                tensor.zero_()
    assert same_weights(module, before)
