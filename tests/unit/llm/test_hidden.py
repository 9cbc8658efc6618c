"""What the hooks read is what transformers gives, and the model is not run further than it must."""

import numpy as np
import pytest
import torch

from demur.errors import ConfigError, LongRowError, NoMemoryError
from demur.llm import watch_layers


@pytest.fixture
def rows(target, conversations):
    return [target.prompt_ids(one) for one in conversations]


def of_transformers(net, row, layers):
    """``(t, layers, d)`` of one row alone, without padding."""
    with torch.no_grad():
        states = net(torch.from_numpy(row).long()[None], output_hidden_states=True).hidden_states
    return torch.stack([states[layer][0] for layer in layers], dim=1).numpy()


def test_states_of_padded_rows_are_those_of_transformers_alone(target, rows):
    layers = [2, 0, 1]
    for found, row in zip(target.hidden_states(rows, layers, "all"), rows, strict=True):
        np.testing.assert_allclose(found, of_transformers(target.module, row, layers), atol=1e-5)


def test_last_and_mean_are_over_the_tokens_of_a_row(target, rows):
    every = target.hidden_states(rows, [1, 3], "all")
    last, mean = (target.hidden_states(rows, [1, 3], at) for at in ("last", "mean"))
    assert last.shape == mean.shape == (6, 2, 32)
    assert last.dtype == np.float32
    np.testing.assert_allclose(last, np.stack([one[-1] for one in every]), atol=1e-6)
    np.testing.assert_allclose(mean, np.stack([one.mean(axis=0) for one in every]), atol=1e-6)


def test_the_last_layer_is_what_the_final_norm_is_given(target, rows):
    (found,) = target.hidden_states(rows[:1], [3], "all")
    with torch.no_grad():
        normed = target.module.model.norm(torch.from_numpy(found[:, 0])).numpy()
    np.testing.assert_allclose(normed, of_transformers(target.module, rows[0], [3])[:, 0], atol=1e-5)


def test_the_model_stops_at_the_last_layer_asked_for(target, rows):
    ran = []
    for number, block in enumerate(target.module.model.layers):
        block.register_forward_hook(lambda *_, number=number: ran.append(number))
    target.hidden_states(rows[:1], [1])
    assert ran == [0]


def test_hooks_are_gone_afterwards(target, rows):
    target.hidden_states(rows, [1, 3])
    with pytest.raises(ConfigError, match="layer 4 is asked for"):
        target.hidden_states(rows, [4])
    for block in target.module.model.layers:
        assert not block._forward_hooks
        assert not block._forward_pre_hooks


def test_states_of_an_adapter_can_be_read_with_and_without_it(target, rows, add_adapter):
    base = target.hidden_states(rows, [3])
    adapted = target.with_module(add_adapter(target.module))
    assert np.abs(adapted.hidden_states(rows, [3]) - base).max() > 0.01
    with adapted.without_adapter() as off:
        np.testing.assert_array_equal(off.hidden_states(rows, [3]), base)


def test_rows_that_are_longer_than_the_model_reads_are_refused(make_target, rows):
    most = max(len(row) for row in rows) - 1
    with pytest.raises(LongRowError, match=f"but the model reads {most}; shorten it"):
        make_target(max_position_embeddings=most).hidden_states(rows, [0])


def test_no_rows_are_no_states(target):
    assert target.hidden_states([], [1, 2]).shape == (0, 2, 32)
    assert target.hidden_states([], [1], "all") == []


def test_layers_are_seen_in_training_too(target, rows):
    seen = {}
    ids = torch.from_numpy(rows[0]).long()[None]
    with watch_layers(target.module, [0, 2], seen.__setitem__):
        target.module(ids)
    assert sorted(seen) == [0, 2]
    assert seen[2].requires_grad


def test_full_memory_is_one_sentence(target, rows, monkeypatch):
    def fail(**_):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(target.module, "forward", fail)
    with pytest.raises(NoMemoryError, match="memory ran out while reading hidden states; give fewer"):
        target.hidden_states(rows, [1])


def test_states_of_other_tokens_and_layers_are_not_kept(target, rows, monkeypatch):
    """A long batch at many layers would not fit the memory beside the model."""
    sizes = []
    stack = torch.stack
    monkeypatch.setattr(torch, "stack", lambda *given, **named: sizes.append(1) or stack(*given, **named))
    cpu = torch.Tensor.cpu
    monkeypatch.setattr(torch.Tensor, "cpu", lambda one: sizes.append(one.numel()) or cpu(one))
    target.hidden_states(rows, [1, 2, 3], "last")
    assert sizes
    assert max(sizes) == 32
