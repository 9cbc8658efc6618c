import pytest

from demur.config import parse_settings
from demur.errors import ConfigError
from demur.stress._tune_config import TuneConfig


def test_steps_are_sorted_and_each_stands_once():
    assert TuneConfig(steps=(4, 0, 4, 1)).steps == (0, 1, 4)


def test_the_default_steps_are_dense_where_refusals_break():
    assert TuneConfig().steps[:6] == (0, 1, 2, 4, 8, 16)
    assert {500, 512, 1000, 2000} <= set(TuneConfig().steps)


def test_a_step_before_the_first_is_refused():
    with pytest.raises(ConfigError, match="step -1 lies before the first; give 0 or more"):
        parse_settings(TuneConfig, {"steps": [-1, 2]})
