"""Tests of secrets in an ``.env`` file."""

import logging
import os

import pytest

from demur.errors import SecretUnavailableError
from demur.serve.secrets.dotenv import DotenvConfig, DotenvSource


@pytest.fixture
def env(tmp_path):
    """Writer of ``.env`` in the working folder, for its owner alone."""

    def write(text, mode=0o600):
        path = tmp_path / ".env"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        path.chmod(mode)
        return path

    return write


def test_a_line_is_given_and_an_absent_one_is_none(env):
    env("# a comment\nKEY=value # and more\nexport OTHER='two words'\nEMPTY=\nBARE\n")
    source = DotenvSource()
    found = [source.get(name) for name in ("KEY", "OTHER", "EMPTY", "BARE", "NONE")]
    assert found == ["value", "two words", "", None, None]


def test_a_dollar_sign_stands_for_itself(env, monkeypatch):
    monkeypatch.setenv("HOME_OF_X", "expanded")
    env('A=pa$$word\nB="x${HOME_OF_X}y"\n')
    assert [DotenvSource().get(name) for name in "AB"] == ["pa$$word", "x${HOME_OF_X}y"]


def test_the_environment_is_left_as_it_was(env, monkeypatch):
    monkeypatch.setenv("KEY", "from outside")
    env("KEY=value\nNEW_ONE=x\n")
    DotenvSource().get("KEY")
    assert os.environ["KEY"] == "from outside"
    assert "NEW_ONE" not in os.environ


def test_a_changed_file_is_seen_at_the_next_look(env):
    env("KEY=one\n")
    source = DotenvSource()
    assert source.get("KEY") == "one"
    env("KEY=two\nKEY_PREVIOUS=one\n")
    assert (source.get("KEY"), source.get("KEY", "previous")) == ("two", "one")


def test_another_file_may_be_named(tmp_path):
    (tmp_path / "guard.env").write_text("KEY=value\n")
    (tmp_path / "guard.env").chmod(0o600)
    source = DotenvSource(DotenvConfig(path="guard.env"))
    assert (source.get("KEY"), source.where()) == ("value", "dotenv (guard.env)")


def test_a_file_that_is_not_there_has_nothing(tmp_path):
    assert DotenvSource().get("KEY") is None
    assert DotenvSource().where() == "dotenv (no file .env)"
    (tmp_path / ".env").mkdir()
    assert DotenvSource().get("KEY") is None
    assert DotenvSource(DotenvConfig(path=f"{__file__}/x")).get("KEY") is None


def test_a_byte_order_mark_is_not_part_of_the_first_name(env):
    env(b"\xef\xbb\xbfKEY=value\n")
    assert DotenvSource().get("KEY") == "value"


def test_a_file_that_is_not_utf8_is_refused_without_its_bytes(env):
    env(b"KEY=caf\xe9-secret\n")
    with pytest.raises(SecretUnavailableError, match=r"^\.env is not UTF-8 text; save it as UTF-8$"):
        DotenvSource().get("KEY")


@pytest.mark.parametrize(("mode", "times"), [(0o644, 1), (0o604, 1), (0o600, 0), (0o640, 0)])
def test_a_file_that_everybody_can_read_is_used_and_warned_of_once(env, caplog, mode, times):
    env("KEY=value\n", mode)
    source = DotenvSource()
    with caplog.at_level(logging.WARNING):
        assert [source.get("KEY"), source.get("KEY")] == ["value", "value"]
    warned = [".env can be read by everybody on this machine; run: chmod 600 .env"]
    assert caplog.messages == warned * times


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read_is_told_with_the_remedy(env):
    env("KEY=value\n", 0o000)
    with pytest.raises(SecretUnavailableError, match=r"cannot be read .*check its owner and permissions"):
        DotenvSource().get("KEY")


def test_a_file_that_the_system_will_not_open_is_told_with_the_remedy(tmp_path):
    (tmp_path / ".env").symlink_to(tmp_path / ".env")
    with pytest.raises(SecretUnavailableError, match=r"\.env cannot be read .*check its owner and permissions"):
        DotenvSource().get("KEY")
