import pytest

from demur.config import parse_settings
from demur.errors import ConfigError
from demur.serve.batching import BatchingConfig


def test_by_default_a_free_thread_waits_for_nothing():
    assert BatchingConfig().max_wait_ms == 0


@pytest.mark.parametrize("values", [{"max_rows": 0}, {"max_queue": 0}, {"max_wait_ms": -1}])
def test_a_size_out_of_bounds_is_refused(values):
    with pytest.raises(ConfigError, match=next(iter(values))):
        parse_settings(BatchingConfig, values)
