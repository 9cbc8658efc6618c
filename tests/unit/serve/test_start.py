import socket

import pytest

from demur.errors import ArtifactError, ConfigError, StoreUnavailableError, UsageError
from demur.serve import check_ground, load_serve
from demur.serve._start import listen
from demur.serve.pool import find_models, register_models
from demur.serve.secrets import Secrets
from demur.store import new_key, open_store


@pytest.fixture
def config(tmp_path, rules_folder):
    """Maker of a configuration with a database in a folder of its own."""

    def make(**changes):
        values = {"models": [str(rules_folder)], "database": {"url": f"sqlite:///{tmp_path / 'guard.db'}"}}
        return load_serve(None, values | changes)

    return make


def ground(settings, **rest):
    return check_ground(settings, Secrets(), **rest)


def test_models_are_registered_in_a_database_that_is_made(config, rules_folder, tmp_path):
    found = ground(config())
    assert [(row.task, row.name) for row in found.champions] == [("refusal", "rules")]
    assert (found.has_database, found.has_keys) == (True, False)
    with open_store(f"sqlite:///{tmp_path / 'guard.db'}") as store:
        assert store.champion("refusal").folder == str(rules_folder)
        store.add_key(new_key("one", ["classify"])[1])
    assert ground(config()).has_keys


def test_only_tasks_of_the_configuration_are_served(config, risk_folder, tmp_path):
    with open_store(f"sqlite:///{tmp_path / 'guard.db'}") as store:
        store.migrate()
        register_models(store, find_models([risk_folder]))
    assert [row.task for row in ground(config()).champions] == ["refusal"]


def test_what_was_promoted_is_served_unless_the_configuration_shall_have_its_way(config, ready_folder, tmp_path):
    ground(config())
    with open_store(f"sqlite:///{tmp_path / 'guard.db'}") as store:
        register_models(store, find_models([ready_folder]))
    assert [row.name for row in ground(config()).champions] == ["tfidf_logreg"]
    assert [row.name for row in ground(config(), use_configured=True).champions] == ["rules"]


def test_no_model_is_refused(config):
    with pytest.raises(ConfigError, match="no model is given"):
        ground(config(models=[]))


def test_a_broken_model_is_refused(config, tmp_path):
    with pytest.raises(ArtifactError, match="there is no folder"):
        ground(config(models=[str(tmp_path / "gone")]))


DOWN = "postgresql://demur@127.0.0.1:1/demur"


def test_a_database_that_does_not_answer_is_refused(config):
    with pytest.raises(StoreUnavailableError, match=r"database\.required is false") as caught:
        ground(config(database={"url": DOWN}))
    assert caught.value.exit_code == 1


def test_a_server_may_begin_without_it_where_that_is_allowed(config):
    found = ground(config(database={"url": DOWN, "required": False}))
    assert [row.task for row in found.champions] == ["refusal"]
    assert (found.has_database, found.has_keys) == (False, None)


# The port


def test_a_port_that_is_free_is_listened_on():
    with listen("127.0.0.1", 0) as listener:
        socket.create_connection(listener.getsockname()[:2], timeout=5).close()


def test_a_port_that_is_taken_is_said():
    with listen("127.0.0.1", 0) as listener:
        port = listener.getsockname()[1]
        with pytest.raises(UsageError, match=f"port {port} of 127.0.0.1 is in use; .* another with --port"):
            listen("127.0.0.1", port)


def test_an_address_of_another_machine_is_said():
    with pytest.raises(UsageError, match="cannot be listened on"):
        listen("192.0.2.1", 0)
