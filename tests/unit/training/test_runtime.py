"""Seeds are put back, transformers is silenced for a block, and devices are picked."""

from __future__ import annotations

import random
import warnings

import numpy as np
import pytest

from demur.training import pick_device, quiet_transformers, seeded


def draw() -> tuple[float, float, float]:
    import torch

    return random.random(), float(np.random.random()), float(torch.rand(1))


def test_a_seeded_block_draws_the_same_numbers_every_time() -> None:
    with seeded(3):
        first = draw()
    with seeded(3):
        assert draw() == first


def test_a_seeded_block_leaves_the_callers_numbers_alone() -> None:
    with seeded(1):
        expected = draw()
    with seeded(1):
        with seeded(2):
            draw()
        assert draw() == expected


def test_states_come_back_after_an_error() -> None:
    with seeded(1):
        expected = draw()
    with seeded(1):
        with pytest.raises(RuntimeError, match="inside"), seeded(2):
            raise RuntimeError("inside")
        assert draw() == expected


def test_quiet_transformers_puts_the_level_back() -> None:
    from transformers.utils import logging

    before = logging.get_verbosity(), logging.is_progress_bar_enabled()
    with quiet_transformers():
        assert logging.get_verbosity() == logging.ERROR
        assert not logging.is_progress_bar_enabled()
    assert (logging.get_verbosity(), logging.is_progress_bar_enabled()) == before


def test_quiet_transformers_drops_its_announcements_alone() -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        with quiet_transformers():
            for module in ("transformers.modeling_utils", "peft.peft_model", "somebody.else"):
                warnings.warn_explicit(f"{module} will change", FutureWarning, f"{module}.py", 1, module)
            warnings.warn_explicit("a real one", UserWarning, "peft.py", 1, "peft.peft_model")
    assert [str(one.message) for one in caught] == ["somebody.else will change", "a real one"]


def test_cpu_is_picked_when_asked_for() -> None:
    assert pick_device("cpu").type == "cpu"
