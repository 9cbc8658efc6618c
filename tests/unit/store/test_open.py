"""Tests of opening a store: nothing is connected to before it is used."""

import subprocess
import sys

import pytest

from demur.errors import MissingDependencyError, UsageError
from demur.store import DEFAULT_URL, open_store


def test_opening_connects_to_nothing(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with open_store() as store:
        assert store.url == DEFAULT_URL
        assert list(tmp_path.iterdir()) == []
    open_store("postgresql://127.0.0.1:1/nothing").close()


def test_an_address_that_is_none_is_refused_at_once():
    with pytest.raises(UsageError, match="cannot be kept in 'oracle'"):
        open_store("oracle://h/n")


def test_a_library_that_is_missing_is_named_with_its_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "sqlalchemy", None)
    with pytest.raises(MissingDependencyError, match=r"demur\[serve\]"):
        open_store()


def test_the_list_of_the_package_imports_no_library():
    code = "import sys, demur.store; demur.store.PredictionRow; assert 'sqlalchemy' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
