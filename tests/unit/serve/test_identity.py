import stat
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from demur.errors import StorageError, UsageError
from demur.serve import Identity
from demur.serve._identity import is_request_id, keep_secret

IDENTITY = Identity([b"0123456789abcdef"])
GIVEN = st.none() | st.from_regex(r"[A-Za-z0-9._:-]{1,64}", fullmatch=True)


@given(GIVEN)
def test_an_id_that_was_given_out_is_known_again(request_id):
    found = IDENTITY.new_answer_id(request_id)
    assert IDENTITY.is_answer_id(found)
    assert request_id is None or found.startswith(f"{request_id}~")


def test_ids_are_unique_also_for_the_same_request():
    assert len({IDENTITY.new_answer_id("same") for _ in range(500)}) == 500


@given(GIVEN, st.integers(0, 200), st.sampled_from("0123456789abcdefXY~/"))
def test_an_id_that_was_changed_is_not_known(request_id, place, letter):
    found = IDENTITY.new_answer_id(request_id)
    place %= len(found)
    changed = found[:place] + letter + found[place + 1 :]
    assert IDENTITY.is_answer_id(changed) == (changed == found)


def test_another_servers_id_is_not_known():
    assert not IDENTITY.is_answer_id(Identity([b"another secret of it"]).new_answer_id())


def test_while_secrets_are_exchanged_both_hold():
    old, new = b"the old secret of it", b"the new secret of it"
    both = Identity([new, old])
    assert both.is_answer_id(Identity([old]).new_answer_id())
    assert Identity([new]).is_answer_id(both.new_answer_id())
    assert not Identity([old]).is_answer_id(both.new_answer_id())


def test_a_short_secret_is_refused():
    with pytest.raises(UsageError, match="has 5 bytes; give one of at least 16"):
        Identity([b"short"])


@given(st.text(), st.text())
def test_hashes_tell_equal_from_different_and_need_the_secret(left, right):
    assert (IDENTITY.hash_text(left) == IDENTITY.hash_text(right)) == (left == right)
    assert IDENTITY.hash_text(left) != Identity([b"another secret of it"]).hash_text(left)
    assert IDENTITY.hash_text(left) != IDENTITY.hash_subject(left)


@pytest.mark.parametrize(
    ("text", "is_one"),
    [("abc-1.2:3_4", True), ("a" * 64, True), ("a" * 65, False), ("", False), ("a b", False), ("a\n", False)],
)
def test_request_ids_are_short_and_plain(text, is_one):
    assert is_request_id(text) is is_one


@given(st.text())
def test_what_was_sealed_is_opened_for_its_purpose_alone(text):
    sealed = IDENTITY.seal("session", text)
    assert sealed.isascii() is text.isascii()
    assert IDENTITY.unseal("session", sealed) == (text if text.isascii() else None)
    assert IDENTITY.unseal("other", sealed) is None
    assert Identity([b"another secret of it"]).unseal("session", sealed) is None


def test_a_seal_of_the_secret_before_holds_while_it_is_exchanged():
    sealed = IDENTITY.seal("session", "a.b")
    assert Identity([b"another secret of it", b"0123456789abcdef"]).unseal("session", sealed) == "a.b"
    for wrong in ("", ".", "a.b", sealed[:-1], f"a{sealed}", f"{sealed[:-1]}ü"):
        assert IDENTITY.unseal("session", wrong) is None


# The secret that is kept


def test_a_secret_is_made_once_and_only_its_owner_may_read_it(tmp_path):
    first = keep_secret(tmp_path / "spool")
    assert keep_secret(tmp_path / "spool") == first
    assert len(first) == 64
    assert stat.S_IMODE((tmp_path / "spool" / "secret.key").stat().st_mode) == 0o600
    assert [path.name for path in (tmp_path / "spool").iterdir()] == ["secret.key"]


def test_those_who_make_it_at_once_get_the_same(tmp_path):
    with ThreadPoolExecutor(8) as pool:
        assert len(set(pool.map(lambda _: keep_secret(tmp_path), range(32)))) == 1


def test_a_damaged_secret_is_refused(tmp_path):
    (tmp_path / "secret.key").write_text("short")
    with pytest.raises(StorageError, match="is damaged; remove it"):
        keep_secret(tmp_path)


def test_a_folder_that_cannot_be_made_is_said(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="keeping the secret"):
        keep_secret(tmp_path / "file")
