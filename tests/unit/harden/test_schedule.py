"""The coefficients of the losses."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from demur.errors import ConfigError
from demur.harden import schedule_losses


@given(steps=st.integers(1, 500), alpha=st.floats(0.1, 100))
def test_the_schedule_is_that_of_the_paper(steps: int, alpha: float) -> None:
    t = np.arange(1, steps + 1)
    found = [schedule_losses(int(step), steps, alpha) for step in t]
    np.testing.assert_allclose([one.breaker for one in found], alpha * (1 - t / (2 * steps)))
    np.testing.assert_allclose([one.retain for one in found], alpha * t / (2 * steps))


@given(step=st.integers(1, 1000), steps=st.integers(1, 500))
def test_both_coefficients_add_up_to_alpha_and_none_is_negative(step: int, steps: int) -> None:
    found = schedule_losses(step, steps, 10.0)
    assert found.breaker + found.retain == pytest.approx(10.0)
    assert found.breaker >= 5.0
    assert found.retain >= 0.0


def test_the_last_step_weighs_both_losses_alike() -> None:
    found = schedule_losses(150, 150, 10.0)
    assert (found.breaker, found.retain) == (5.0, 5.0)


def test_beyond_the_last_step_nothing_changes() -> None:
    assert schedule_losses(700, 150, 10.0) == schedule_losses(150, 150, 10.0)


@pytest.mark.parametrize(("step", "steps"), [(0, 10), (1, 0)])
def test_a_step_before_the_first_is_refused(step: int, steps: int) -> None:
    with pytest.raises(ConfigError, match="steps are counted from 1"):
        schedule_losses(step, steps, 10.0)
