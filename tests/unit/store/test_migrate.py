"""Tests of migrations: the tables they make are those the code means, once, and never those of a newer version."""

import subprocess
import sys
import threading

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import insert

from demur.errors import BadRowError, StoreError, StoreUnavailableError
from demur.store import open_store, utc_now
from demur.store._migrate import LOCK, VERSION_TABLE, _scripts
from demur.store._tables import METADATA, TABLES


@pytest.fixture
def fresh(empty_url):
    """A migrated store that may be spoilt."""
    with open_store(empty_url) as opened:
        opened.migrate()
        yield opened


def version(store, new=None):
    with store._writer.begin() as connection:
        if new is not None:
            connection.exec_driver_sql(f"UPDATE {VERSION_TABLE} SET version_num = '{new}'")
        return connection.exec_driver_sql(f"SELECT version_num FROM {VERSION_TABLE}").scalar_one()


def test_migrations_make_the_very_tables_of_the_code(store):
    """Whoever changes a table adds a step to src/demur/store/migrations."""
    with store._engine.connect() as connection:
        options = {"version_table": VERSION_TABLE, "compare_type": True, "compare_server_default": True}
        assert compare_metadata(MigrationContext.configure(connection, opts=options), METADATA) == []


def test_the_comparison_sees_a_difference(fresh):
    with fresh._writer.begin() as connection:
        connection.exec_driver_sql("ALTER TABLE demur_keys ADD COLUMN odd INTEGER")
        connection.exec_driver_sql("DROP INDEX demur_audit_at")
    with fresh._engine.connect() as connection:
        found = compare_metadata(MigrationContext.configure(connection), METADATA)
    assert {one[0] for one in found} >= {"remove_column", "add_index"}


def test_steps_are_one_line_without_forks():
    assert len(_scripts().get_heads()) == 1
    assert len(_scripts().get_bases()) == 1


def test_the_steps_taken_are_named_and_taken_once(empty_url):
    with open_store(empty_url) as store:
        assert store.migrate() == [one.revision for one in _scripts().walk_revisions()][::-1]
        assert store.migrate() == []
        store.check()
        assert set(store.counts()) == set(TABLES)


def test_one_champion_is_held_by_the_database_itself(store):
    values = {"task": "refusal", "name": "n", "folder": "f", "stage": "champion", "metrics": {}, "at": utc_now()}
    rows = [values | {"version": one} for one in "12"]
    with pytest.raises(BadRowError, match=r"IntegrityError|UniqueViolation"), store._write() as connection:
        connection.execute(insert(TABLES["models"]), rows)


def test_an_empty_database_is_told_apart(empty_url, prediction):
    with open_store(empty_url) as store:
        with pytest.raises(StoreError, match=r"lacks tables; run: demur store migrate"):
            store.check()
        with pytest.raises(StoreError, match="lacks tables"):
            store.add_predictions([prediction()])
        store.migrate()
        assert store.add_predictions([prediction()]) == 1


def test_a_newer_store_is_refused_in_one_sentence_and_left_alone(fresh, empty_url, prediction):
    version(fresh, "9999")
    with open_store(empty_url) as opened:
        for call in (opened.check, opened.migrate, lambda: opened.add_predictions([prediction()])):
            with pytest.raises(StoreError, match=r"made by a newer demur \(its tables are 9999"):
                call()
    assert version(fresh) == "9999"


def test_an_older_store_is_told_to_migrate(fresh, empty_url, monkeypatch):
    class Ahead:
        def get_current_head(self):
            return "0009"

        def walk_revisions(self):
            return _scripts().walk_revisions()

    ahead = Ahead()
    with open_store(empty_url) as opened, monkeypatch.context() as patch:
        patch.setattr("demur.store._migrate._scripts", lambda: ahead)
        with pytest.raises(
            StoreError, match=r"of an earlier demur \(0001, this one needs 0009\); run: demur store"
        ):
            opened.counts()


def test_a_store_is_checked_once(store, monkeypatch):
    store.counts()
    monkeypatch.setattr("demur.store._base.check", lambda _: pytest.fail("checked again"))
    store.counts()


def test_a_database_that_is_down_cannot_be_migrated():
    store = open_store("postgresql://127.0.0.1:1/nothing")
    with store, pytest.raises(StoreUnavailableError, match="does not answer"):
        store.migrate()


def test_processes_that_start_at_once_migrate_once(empty_url):
    code = "import sys\nfrom demur.store import open_store, utc_now\nprint(open_store(sys.argv[1]).migrate())"
    started = [
        subprocess.Popen(
            [sys.executable, "-c", code, empty_url], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        for _ in range(3)
    ]
    ended = [one.communicate(timeout=300) for one in started]
    assert [one.returncode for one in started] == [0, 0, 0], ended
    assert sorted(out.strip() for out, _ in ended)[-2:] == ["[]", "[]"]
    with open_store(empty_url) as store:
        store.check()


def test_a_process_waits_while_another_migrates(postgres, postgres_server):
    """The lock is held by hand; the migration ends once it is given back."""
    import psycopg

    store, done = open_store(postgres), threading.Event()
    with store, psycopg.connect(postgres) as other:
        other.execute(f"SELECT pg_advisory_xact_lock({LOCK})")
        waiting = threading.Thread(target=lambda: (store.migrate(), done.set()))
        waiting.start()
        assert not done.wait(0.5)
        other.rollback()
        assert done.wait(60)
        waiting.join()


def test_a_migration_that_fails_leaves_nothing(empty_url, monkeypatch):
    with open_store(empty_url) as store:
        with monkeypatch.context() as patch:
            patch.setattr("alembic.operations.Operations.create_index", lambda *_, **__: 1 / 0)
            with pytest.raises(ZeroDivisionError, match="division"):
                store.migrate()
        with pytest.raises(StoreError, match="lacks tables"):
            store.check()
        store.migrate()
        store.check()
