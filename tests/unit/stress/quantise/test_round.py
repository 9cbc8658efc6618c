"""Rounded values are the nearest of the numbers there are: half a step away at most."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from demur.errors import ConfigError, MissingDependencyError
from demur.stress.quantise import QuantiseConfig
from demur.stress.quantise._round import nf4_levels, round_rows, round_weight

PUBLISHED = (
    *(-1.0, -0.6961928, -0.5250731, -0.3949175, -0.2844414, -0.1847734, -0.0910500, 0.0),
    *(0.0795803, 0.1609302, 0.2461123, 0.3379152, 0.4407098, 0.5626170, 0.7229568, 1.0),
)
"""Appendix E of the paper."""
SHAPES = st.tuples(st.integers(1, 9), st.integers(1, 40), st.integers(0, 99))


def draw(shape):
    rows, columns, seed = shape
    return torch.from_numpy(np.random.default_rng(seed).normal(0, 0.3, (rows, columns)).astype(np.float32))


def groups_of(weight, size):
    flat = weight.numpy().astype(np.float64).ravel()
    return np.pad(flat, (0, -len(flat) % size)).reshape(-1, size)


def test_the_levels_of_nf4_are_the_published_ones():
    np.testing.assert_allclose(nf4_levels(), PUBLISHED, atol=1e-6)


@given(SHAPES)
def test_int8_is_within_half_a_step_of_the_weight(shape):
    weight = draw(shape)
    step = weight.abs().amax(dim=1, keepdim=True) / 127
    found = round_weight(weight, "int8", QuantiseConfig())
    assert ((found - weight).abs() <= step / 2 * (1 + 1e-4)).all()


@given(SHAPES, st.sampled_from([4, 16, 64]))
def test_int4_is_within_half_a_step_of_the_weight(shape, group):
    weight = draw(shape)
    found = round_weight(weight, "int4", QuantiseConfig(group=group))
    before, after = groups_of(weight, group), groups_of(found, group)
    step = np.abs(before).max(axis=1, keepdims=True) / 7
    assert (np.abs(after - before) <= step / 2 * (1 + 1e-4)).all()


@given(SHAPES, st.sampled_from([4, 16, 64]))
def test_nf4_takes_the_nearest_level(shape, group):
    weight = draw(shape)
    after = groups_of(round_weight(weight, "nf4", QuantiseConfig(group=group)), group)
    before = groups_of(weight, group)
    choices = np.abs(before).max(axis=1)[:, None, None] * np.array(PUBLISHED)
    nearest = np.abs(before[:, :, None] - choices).min(axis=-1)
    np.testing.assert_allclose(np.abs(after - before), nearest, atol=1e-6)


@pytest.mark.parametrize(("bits", "most"), [("int8", 255), ("int4", 15), ("nf4", 16)])
def test_a_group_has_no_more_numbers_than_its_bits_hold(bits, most):
    weight = draw((1, 4096, 3))
    found = round_weight(weight, bits, QuantiseConfig(group=4096))
    assert len(found.unique()) <= most


@pytest.mark.parametrize("bits", ["int8", "int4", "nf4"])
def test_rounding_twice_is_rounding_once(bits):
    once = round_weight(draw((5, 70, 1)), bits, QuantiseConfig())
    torch.testing.assert_close(round_weight(once, bits, QuantiseConfig()), once, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("bits", ["int8", "int4", "nf4"])
def test_zeros_stay_zeros(bits):
    zeros = torch.zeros(3, 8)
    assert torch.equal(round_weight(zeros, bits, QuantiseConfig()), zeros)


def test_a_weight_keeps_its_type():
    assert round_weight(draw((2, 8, 0)).bfloat16(), "nf4", QuantiseConfig()).dtype == torch.bfloat16


def test_rows_are_rounded_each_by_its_own_largest_value():
    values = torch.tensor([[127.0, 1.4, -2.6], [1.27, 0.014, -0.026]])
    wanted = torch.tensor([[127.0, 1.0, -3.0], [1.27, 0.01, -0.03]])
    torch.testing.assert_close(round_rows(values), wanted)


def test_bitsandbytes_where_it_is_not_installed_is_named(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "bitsandbytes", None)
    with pytest.raises(MissingDependencyError, match=r"pip install 'demur\[quantise\]'"):
        round_weight(draw((2, 8, 0)), "nf4", QuantiseConfig(backend="bitsandbytes"))


def test_bitsandbytes_without_a_gpu_is_refused(monkeypatch):
    import types

    monkeypatch.setitem(__import__("sys").modules, "bitsandbytes", types.SimpleNamespace(functional=None))
    with pytest.raises(ConfigError, match="the model is not on a GPU; set backend: simulated"):
        round_weight(draw((2, 8, 0)), "nf4", QuantiseConfig(backend="bitsandbytes"))
