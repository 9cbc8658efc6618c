"""Tests of the engine: addresses, SQLite's settings, and errors that name no text and no password."""

import sqlite3

import pytest

from demur.errors import BadRowError, StoreError, StoreUnavailableError, UsageError
from demur.store import open_store
from demur.store._engine import parse_url


@pytest.mark.parametrize("scheme", ["postgres", "postgresql", "postgresql+psycopg"])
def test_every_address_of_postgresql_means_psycopg(scheme):
    assert parse_url(f"{scheme}://u:p@h/n").drivername == "postgresql+psycopg"


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("mysql://h/n", "cannot be kept in 'mysql'"),
        ("nonsense", "not readable"),
        ("", "not readable"),
        ("sqlite://", "in memory"),
        ("sqlite:///:memory:", "in memory"),
        ("postgresql://h:port/n", "not readable"),
    ],
)
def test_another_address_is_refused_in_one_sentence(url, said):
    with pytest.raises(UsageError, match=said):
        parse_url(url)


def test_a_password_is_never_shown():
    with open_store("postgresql://user:secret@127.0.0.1:1/name") as store:
        assert "secret" not in store.url
        with pytest.raises(StoreUnavailableError, match="does not answer") as caught:
            store.ping()
    assert "secret" not in str(caught.value)
    assert caught.value.__cause__ is None


def test_sqlite_writes_ahead_and_overwrites_what_is_deleted(tmp_path):
    with open_store(f"sqlite:///{tmp_path / 'demur.db'}") as store:
        store.migrate()
        with store._read() as connection:
            found = [
                connection.exec_driver_sql(f"PRAGMA {name}").scalar_one()
                for name in ("journal_mode", "synchronous", "busy_timeout", "secure_delete")
            ]
    assert found == ["wal", 2, 15000, 1]


def test_tables_that_are_not_there_are_named_with_the_remedy(empty_url, prediction):
    with open_store(empty_url) as store, pytest.raises(StoreError, match="run: demur store migrate"):
        store.add_predictions([prediction()])


def test_a_row_that_fits_no_table_is_told_apart_from_a_database_that_is_down(store, prediction):
    row = prediction(prompt="a secret text", label=None)
    with pytest.raises(BadRowError, match="does not fit its table") as caught:
        store.add_predictions([prediction(1), row])
    assert "secret" not in str(caught.value)
    inner = caught.value.__context__
    while inner is not None:  # nor may what logs a traceback with everything behind it
        assert "secret" not in f"{inner} {inner!r}"
        inner = inner.__context__ or inner.__cause__
    assert store.counts()["predictions"] == 0


@pytest.mark.parametrize("value", [2**70, "many", object()])
def test_a_value_of_another_type_is_a_bad_row(store, prediction, value):
    if value == "many" and store.is_sqlite:
        pytest.skip("SQLite takes text in a column of integers")
    with pytest.raises(BadRowError, match="does not fit its table"):
        store.add_predictions([prediction(prompt_chars=value)])


def test_a_file_that_is_no_database_is_said_to_be_none(tmp_path):
    (tmp_path / "demur.db").write_bytes(b"nothing of the kind" * 100)
    store = open_store(f"sqlite:///{tmp_path / 'demur.db'}")
    with store, pytest.raises(StoreError, match="no readable SQLite database"):
        store.ping()


def test_a_folder_that_is_not_there_is_said_to_be_missing(tmp_path):
    store = open_store(f"sqlite:///{tmp_path / 'no' / 'demur.db'}")
    with store, pytest.raises(StoreUnavailableError, match="check that its folder exists"):
        store.ping()


def test_a_database_that_another_process_keeps_locked_is_unavailable(tmp_path, prediction, monkeypatch):
    monkeypatch.setattr("demur.store._engine.BUSY_TIMEOUT_S", 0.05)
    path = tmp_path / "demur.db"
    with open_store(f"sqlite:///{path}") as store:
        store.migrate()
        other = sqlite3.connect(path, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreUnavailableError, match="locked"):
            store.add_predictions([prediction()])
        assert store.predictions() == []  # readers are not kept waiting
        other.execute("ROLLBACK")
        other.close()
        assert store.add_predictions([prediction()]) == 1


def test_a_server_that_was_stopped_is_unavailable_and_is_found_again(postgres, postgres_server, prediction):
    with open_store(postgres) as store:
        store.migrate()
        assert store.add_predictions([prediction(1)]) == 1
        postgres_server.stop("immediate")
        for _ in range(2):
            with pytest.raises(StoreUnavailableError, match="does not answer"):
                store.add_predictions([prediction(2)])
        postgres_server.start()
        assert store.add_predictions([prediction(1), prediction(2)]) == 1


def test_a_server_that_commits_lazily_is_told_to_commit(postgres, postgres_server):
    postgres_server.execute("ALTER ROLE postgres SET synchronous_commit = off")
    try:
        with open_store(postgres) as store, store._engine.connect() as connection:
            assert connection.exec_driver_sql("SHOW synchronous_commit").scalar_one() == "on"
    finally:
        postgres_server.execute("ALTER ROLE postgres RESET synchronous_commit")


def test_a_login_that_is_refused_is_said_to_be_refused(postgres_server):
    store = open_store(postgres_server.url("nowhere"))
    with store, pytest.raises(StoreUnavailableError, match='database "nowhere" does not exist'):
        store.ping()
