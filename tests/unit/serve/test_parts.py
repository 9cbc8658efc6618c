import pytest

from demur.errors import UsageError
from demur.serve import load_serve
from demur.serve._parts import make_parts
from demur.serve._place import Place
from demur.serve.pool import find_models


def test_the_parts_are_as_the_configuration_says(tmp_path, rules_folder):
    url = f"sqlite:///{tmp_path / 'guard.db'}"
    spool = {"folder": str(tmp_path / "spool"), "max_bytes": 2**20}
    config = load_serve(None, {"database": {"url": url}, "spool": spool, "records": "best_effort"})
    parts = make_parts(Place("worker", 0, config, tmp_path, signing=("a secret of the tests",)))
    assert parts.recorder.mode == "best_effort"
    assert (str(parts.spool.folder), parts.spool.max_bytes) == (str(tmp_path / "spool"), 2**20)
    assert str(tmp_path / "guard.db") in parts.store.url
    assert not parts.warm.is_set()
    parts.pool.update(find_models([rules_folder]))
    assert parts.pool.state.champions["refusal"].name == "rules"
    assert parts.pool.close()
    parts.buckets.close()


def test_a_secret_that_is_too_short_is_refused(tmp_path):
    config = load_serve(None, {"database": {"url": f"sqlite:///{tmp_path / 'guard.db'}"}})
    with pytest.raises(UsageError, match="give one of at least 16"):
        make_parts(Place("worker", 0, config, tmp_path, signing=("short",)))
