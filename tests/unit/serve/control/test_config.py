import pytest

from demur.config import parse_settings
from demur.errors import ConfigError
from demur.serve.control import ControlConfig, RetentionConfig


def test_nothing_is_deleted_by_default():
    config = ControlConfig().retention
    assert config.records_days is config.texts_days is config.history_days is None


@pytest.mark.parametrize("values", [{"lease_s": 0.1}, {"interval_s": 0}, {"retention": {"records_days": 0}}])
def test_times_have_bounds(values):
    with pytest.raises(ConfigError, match="greater than"):
        parse_settings(ControlConfig, values)


def test_unknown_keys_are_refused_with_the_nearest():
    with pytest.raises(ConfigError, match="did you mean 'records_days'"):
        parse_settings(RetentionConfig, {"record_days": 3})
