"""Tests of secrets that are files in a folder, as Docker, Kubernetes and systemd lay them."""

import os

import pytest

from demur.errors import SecretUnavailableError
from demur.serve.secrets.files import FilesConfig, FilesSource


@pytest.fixture
def folder(tmp_path):
    made = tmp_path / "secrets"
    made.mkdir()
    (made / "KEY").write_text("value\n")
    (tmp_path / "outside").write_text("not to be read")
    return made


@pytest.fixture
def source(folder):
    return FilesSource(FilesConfig(folder=str(folder)))


def test_a_file_is_given_without_its_line_end(source, folder):
    (folder / "WINDOWS").write_bytes(b"value\r\n")
    (folder / "SPACES").write_bytes(b" two words \n\n")
    assert [source.get(name) for name in ("KEY", "WINDOWS", "SPACES", "NONE")] == [
        "value",
        "value",
        " two words \n",
        None,
    ]


def test_the_value_before_is_a_file_beside_it(source, folder):
    (folder / "KEY_PREVIOUS").write_text("old")
    assert source.get("KEY", "previous") == "old"


def test_a_replaced_link_is_seen_as_kubernetes_replaces_it(source, folder):
    """A mounted secret is a link to a folder of a time, which is swapped whole."""
    for stamp, value in (("..1", "one"), ("..2", "two")):
        (folder / stamp).mkdir()
        (folder / stamp / "API").write_text(value)
    (folder / "..data").symlink_to("..1")
    (folder / "API").symlink_to("..data/API")
    assert source.get("API") == "one"
    (folder / "..tmp").symlink_to("..2")
    (folder / "..tmp").replace(folder / "..data")
    assert source.get("API") == "two"


@pytest.mark.parametrize("name", ["../outside", "a/b", "..", ".", "", "x\0y", "n" * 300, "/etc/hostname"])
def test_a_name_never_leads_out_of_the_folder(source, name):
    assert source.get(name) is None


def test_a_folder_of_that_name_is_no_secret(source, folder):
    (folder / "DIR").mkdir()
    assert source.get("DIR") is None


def test_bytes_that_are_no_text_are_refused(source, folder):
    (folder / "BYTES").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(SecretUnavailableError, match="BYTES is not UTF-8 text; encode it first"):
        source.get("BYTES")


def test_a_file_that_the_system_will_not_open_is_told_with_the_remedy(source, folder):
    (folder / "LOOP").symlink_to("LOOP")
    said = rf"LOOP cannot be read \(.*\); let the user that runs demur \(id {os.geteuid()}\) read it"
    with pytest.raises(SecretUnavailableError, match=said):
        source.get("LOOP")


def test_the_folder_is_what_systemd_names_or_run_secrets(folder, monkeypatch):
    assert FilesSource()._folder.as_posix() == "/run/secrets"
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(folder))
    assert FilesSource().get("KEY") == "value"


def test_it_says_whether_there_is_a_folder(source, folder, tmp_path):
    assert source.where() == f"files ({folder})"
    assert FilesSource(FilesConfig(folder=str(tmp_path / "no"))).where() == f"files (no folder {tmp_path / 'no'})"
