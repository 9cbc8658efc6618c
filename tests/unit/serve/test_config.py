import json

import pytest

from demur.errors import ConfigError
from demur.serve import ServeConfig, load_serve


@pytest.fixture(autouse=True)
def _no_database(monkeypatch):
    monkeypatch.delenv("DATABASE_URL", raising=False)


@pytest.fixture
def write_config(tmp_path):
    def make(text):
        path = tmp_path / "guard.yaml"
        path.write_text(text)
        return path

    return make


def test_without_a_file_there_are_defaults():
    config = load_serve()
    assert (config.host, config.port, config.records, config.text.log) == ("127.0.0.1", 8000, "durable", "hashed")
    assert config.keys.required
    assert config.cors.origins == ()
    assert str(config.database.url) == "sqlite:///demur.db"


def test_the_environment_is_laid_over_the_file_and_flags_over_both(write_config, monkeypatch):
    path = write_config("port: 1\nworkers: 2\nlimits: {max_items: 5, max_chars: 7}\n")
    monkeypatch.setenv("DEMUR_WORKERS", "3")
    monkeypatch.setenv("DEMUR_LIMITS__MAX_ITEMS", "6")
    config = load_serve(path, {"port": 9, "limits": {"timeout_s": 1}})
    assert (config.port, config.workers) == (9, 3)
    assert (config.limits.max_items, config.limits.max_chars, config.limits.timeout_s) == (6, 7, 1)


def test_the_database_of_the_environment_counts_where_none_is_named(write_config, monkeypatch):
    monkeypatch.setenv("DATABASE_URL", "sqlite:///other.db")
    assert str(load_serve().database.url) == "sqlite:///other.db"
    named = load_serve(write_config("database: {url: 'sqlite:///named.db'}"))
    assert str(named.database.url) == "sqlite:///named.db"


def test_models_beside_the_file_are_found(write_config, tmp_path):
    (tmp_path / "here").mkdir()
    assert load_serve(write_config("models: [here, elsewhere]")).models == (str(tmp_path / "here"), "elsewhere")
    assert load_serve(write_config("models: here")).models == (str(tmp_path / "here"),)


def test_a_password_is_not_shown():
    config = load_serve(overrides={"database": {"url": "postgresql://demur:hunter2@host/demur"}})
    assert "hunter2" not in repr(config)
    assert "hunter2" not in json.dumps(config.model_dump(mode="json"))


def test_an_unknown_key_is_refused_with_the_nearest():
    with pytest.raises(ConfigError, match="unknown key 'worker'; did you mean 'workers'"):
        load_serve(overrides={"worker": 2})


def test_more_items_than_may_wait_are_refused():
    with pytest.raises(ConfigError, match=r"may have 128 items .* only 64 may wait"):
        load_serve(overrides={"batching": {"max_queue": 64}})


@pytest.mark.parametrize("origin", ["*", "app.example.org", "https://app.example.org/path"])
def test_an_origin_is_a_scheme_and_a_host(origin):
    with pytest.raises(ConfigError, match=r"cors\.origins"):
        load_serve(overrides={"cors": {"origins": [origin]}})


def test_the_cores_are_shared_among_workers(monkeypatch):
    monkeypatch.setattr("os.sched_getaffinity", lambda process: set(range(8)))
    assert ServeConfig(workers=2).judging_threads == 4
    assert ServeConfig(workers=16).judging_threads == 1
    assert ServeConfig(workers=2, threads=3).judging_threads == 3
