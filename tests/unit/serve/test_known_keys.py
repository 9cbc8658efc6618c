import time

import pytest

from demur.errors import StoreUnavailableError
from demur.serve._known_keys import KnownKeys, OldKeys
from demur.store import new_key, open_store
from demur.store._rows import utc_now


@pytest.fixture
def rows():
    from dataclasses import replace

    made = [new_key(name, ["classify"], rate)[1] for name, rate in (("a", None), ("b", 2.5))]
    return [made[0], replace(made[1], revoked_at=utc_now())]


def down():
    raise StoreUnavailableError("it is down")


def test_a_worker_that_begins_while_the_database_is_down_knows_what_another_has_read(tmp_path, rows):
    KnownKeys(lambda: rows, tmp_path / "keys.json").read()
    before = time.time()
    found = KnownKeys(down, tmp_path / "keys.json").read()
    assert isinstance(found, OldKeys)
    assert list(found) == rows
    assert 0 <= found.age_s <= time.time() - before + 5


def test_a_worker_that_has_read_the_store_does_not_fall_back_to_the_file(tmp_path, rows):
    answers = iter([lambda: rows, down])
    known = KnownKeys(lambda: next(answers)(), tmp_path / "keys.json")
    assert known.read() == rows
    with pytest.raises(StoreUnavailableError, match="it is down"):
        known.read()


def test_nothing_is_made_up_where_nobody_has_read_the_store(tmp_path):
    with pytest.raises(StoreUnavailableError, match="it is down"):
        KnownKeys(down, tmp_path / "keys.json").read()


def test_a_folder_that_is_gone_keeps_nobody_from_reading_the_store(tmp_path, rows):
    assert KnownKeys(lambda: rows, tmp_path / "gone" / "keys.json").read() == rows


def test_the_file_holds_hashes_and_no_keys(tmp_path):
    with open_store(f"sqlite:///{tmp_path / 'guard.db'}") as store:
        store.migrate()
        key, row = new_key("shop", ["classify"])
        store.add_key(row)
        assert KnownKeys(store.keys, tmp_path / "keys.json").read() == [row]
    text = (tmp_path / "keys.json").read_text()
    assert row.hash in text
    assert key not in text
