"""Tests of the settings of the spool."""

import pytest

from demur.config import parse_settings
from demur.errors import ConfigError
from demur.store import Spool, SpoolConfig


def test_the_defaults_open_a_spool_in_this_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    spool = SpoolConfig().open()
    assert isinstance(spool, Spool)
    assert (str(spool.folder), spool.fsync, spool.interval_s, spool.max_bytes) == ("spool", "interval", 1.0, 2**30)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"fsync": "sometimes"}, "key 'fsync'"),
        ({"fsync_interval_s": 0}, "key 'fsync_interval_s'"),
        ({"max_bytes": 10}, "key 'max_bytes'"),
        ({"folders": "x"}, "did you mean 'folder'"),
    ],
)
def test_settings_that_cannot_be_are_refused(values, said):
    with pytest.raises(ConfigError, match=said):
        parse_settings(SpoolConfig, values)
