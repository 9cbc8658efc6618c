import numpy as np
import pytest

from demur.errors import DataError
from demur.metrics import carry_forward, curve_area, two_level_bootstrap

STEPS = [0, 1, 2, 4, 8, 16]


def falling(n_seeds=3, n_prompts=60):
    generator = np.random.default_rng(0)
    rates = np.linspace(0.9, 0.1, len(STEPS))[None, :, None]
    return (generator.random((n_seeds, len(STEPS), n_prompts)) < rates).astype(float)


def test_the_area_is_the_trapezoids_over_log_steps():
    cells = falling()
    found = curve_area(cells, STEPS, draws=100)
    x = np.log2(1 + np.array(STEPS))
    assert found.value == pytest.approx(np.trapezoid(cells.mean(axis=(0, 2)), x) / (x[-1] - x[0]))
    assert found.low < found.value < found.high
    assert found.n == cells.size


@pytest.mark.parametrize("rate", [0.0, 1.0])
def test_a_constant_rate_is_its_own_area(rate):
    found = curve_area(np.full((3, len(STEPS), 20), rate), STEPS)
    assert found.value == pytest.approx(rate)
    assert "every bootstrap draw gives the same value" in found.reason


def test_early_steps_weigh_as_much_as_a_doubling():
    """A collapse at the first step costs more than one at the last."""
    early, late = np.ones((1, len(STEPS), 10)), np.ones((1, len(STEPS), 10))
    early[:, 1:], late[:, -1:] = 0, 0
    assert curve_area(early, STEPS, draws=0).value < 0.2 < 0.8 < curve_area(late, STEPS, draws=0).value


def test_an_area_of_differences_may_be_negative():
    cells = falling()
    found = curve_area(cells - np.maximum(cells, falling(3)[:, ::-1]), STEPS, draws=200)
    assert found.value < 0
    assert found.low >= -1


def test_a_step_nobody_judged_is_bridged():
    cells = falling()
    cells[:, 2] = np.nan
    kept = [0, 1, 3, 4, 5]
    expected = curve_area(cells[:, kept], [STEPS[place] for place in kept], draws=0).value
    assert curve_area(cells, STEPS, draws=0).value == pytest.approx(expected)


def test_without_the_first_or_last_step_there_is_no_area():
    cells = falling()
    cells[:, -1] = np.nan
    found = curve_area(cells, STEPS)
    assert found.value is None
    assert "the first or the last step" in found.reason


@pytest.mark.parametrize("steps", [[0, 1, 2, 4, 8, 8], [-1, 1, 2, 4, 8, 16]])
def test_steps_that_do_not_rise_are_refused(steps):
    with pytest.raises(DataError, match="steps must be two or more, rise"):
        curve_area(falling(), steps)


def test_steps_of_another_number_are_refused():
    with pytest.raises(DataError, match="there are 2 steps for values of 6"):
        curve_area(falling(), [0, 1])


def test_a_stopped_run_goes_on_as_it_ended():
    cells = falling()
    cells[1, 3:] = np.nan
    filled = carry_forward(cells)
    np.testing.assert_array_equal(filled[1, 3:], np.broadcast_to(cells[1, 2], (3, 60)))
    np.testing.assert_array_equal(filled[[0, 2]], cells[[0, 2]])
    assert np.isnan(cells[1, 3:]).all()


def test_gaps_before_the_last_step_are_left():
    cells = falling()
    cells[0, 1] = np.nan
    np.testing.assert_array_equal(carry_forward(cells), cells)


def test_stopped_runs_left_out_would_flatter_the_rest():
    """Two runs collapse and stop, one holds: the later rate is that of all three."""
    cells = np.ones((3, 3, 20))
    cells[:2, 1] = 0
    cells[:2, 2] = np.nan
    assert two_level_bootstrap(cells, draws=10).points[2].value == 1
    assert two_level_bootstrap(carry_forward(cells), draws=10).points[2].value == pytest.approx(1 / 3)


def test_a_run_that_failed_is_not_carried_on():
    cells = falling()
    cells[:2, 3:] = np.nan
    filled = carry_forward(cells, [True, False, False])
    np.testing.assert_array_equal(filled[0, 5], cells[0, 2])
    assert np.isnan(filled[1, 3:]).all()


def test_stops_of_another_number_of_seeds_are_refused():
    with pytest.raises(DataError, match="is_stopped is of 2 seeds for values of 3"):
        carry_forward(falling(), [True, False])
