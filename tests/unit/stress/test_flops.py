import pytest

from demur.stress import count_parameters, reckon_flops


def test_parameters_are_the_models_own_and_tied_ones_count_once(target):
    config = target.module.config
    d, inner, vocabulary = config.hidden_size, config.intermediate_size, config.vocab_size
    block = d * d + 2 * d * (d // 2) + d * d + 3 * d * inner + 2 * d
    assert count_parameters(target.module) == vocabulary * d + 2 * block + d


def test_an_adapter_does_not_count(make_target, add_adapter):
    plain = count_parameters(make_target().module)
    assert count_parameters(add_adapter(make_target()).module) == plain


@pytest.mark.parametrize(("kind", "factor"), [("forward", 2), ("adapter", 4), ("full", 6)])
def test_flops_are_a_multiple_of_parameters_and_tokens(target, kind, factor):
    assert reckon_flops(target.module, 100, kind) == factor * count_parameters(target.module) * 100
