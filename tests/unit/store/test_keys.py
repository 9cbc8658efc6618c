"""Tests of keys: only a hash is kept, the right text opens, a revoked one does not."""

import hashlib

import pytest

from demur.errors import UnknownRowError, UsageError
from demur.store import KeyRow, hash_key, is_key, key_id, new_key


def test_a_key_is_kept_as_a_hash_alone(store):
    text, row = new_key("app", ["classify", "feedback"], rate_per_s=5)
    store.add_key(row)
    assert store.keys() == [row]
    assert row.hash == hashlib.sha256(text.encode()).hexdigest() == hash_key(text)
    assert text.rsplit("_", 1)[1] not in repr(row)
    assert (row.scopes, row.rate_per_s, row.revoked_at) == (["classify", "feedback"], 5, None)


def test_the_id_stands_in_the_key():
    text, row = new_key("app", ["admin"])
    assert key_id(text) == row.id
    assert text.startswith(f"demur_{row.id}_")


def test_no_two_keys_are_alike():
    assert len({new_key("app", ["admin"])[0] for _ in range(200)}) == 200


@pytest.mark.parametrize(
    "text", ["", "demur_", "demur_0123456789ab_short", "x" * 5000, "demur_0123456789aб_" + "a" * 43, "\ud800"]
)
def test_what_has_not_the_form_of_a_key_is_none(store, text):
    assert key_id(text) is None
    assert store.verify_key(text) is None


def test_the_right_text_opens_and_another_of_the_same_id_does_not(store):
    text, row = new_key("app", ["classify"])
    store.add_key(row)
    other = text[:-1] + ("A" if text[-1] != "A" else "B")
    assert store.verify_key(text) == row
    assert store.verify_key(other) is None
    assert store.verify_key(new_key("app", ["classify"])[0]) is None


def test_a_revoked_key_opens_nothing_and_keeps_the_time_it_was_revoked(store):
    text, row = new_key("app", ["classify"])
    store.add_key(row)
    revoked = store.revoke_key(row.id)
    assert revoked.revoked_at is not None
    assert store.verify_key(text) is None
    assert store.revoke_key(row.id) == revoked
    assert store.keys() == [revoked]


def test_an_unknown_key_cannot_be_revoked(store):
    with pytest.raises(UnknownRowError, match="no key 'x'"):
        store.revoke_key("x")


def test_a_scope_that_is_none_is_refused():
    with pytest.raises(UsageError, match="'clasify' is no scope; did you mean 'classify'"):
        new_key("app", ["clasify"])
    with pytest.raises(UsageError, match="needs a scope"):
        new_key("app", [])


def test_a_text_without_a_row_is_no_key():
    row = KeyRow(id="i", name="n", hash=hash_key("t"), scopes=["admin"])
    assert is_key("t", row)
    assert not is_key("u", row)
    assert not is_key("t", None)
