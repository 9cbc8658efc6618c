"""Tests of what a fit's key depends on: its own sources and files, and nothing of other families."""

import numpy as np
import pytest

from demur.data import Split
from demur.experiment import _key as keys
from demur.experiment._key import hash_code, hash_files, hash_judging, hash_split
from demur.models import CLASSIFIERS


@pytest.fixture
def sources(tmp_path, monkeypatch):
    """A copy of what a small demur would be, which hashes are taken of; gives its folder."""
    import shutil
    from pathlib import Path

    root = tmp_path / "demur"
    shutil.copytree(Path(keys.__file__).parents[1], root, ignore=shutil.ignore_patterns("__pycache__", "*.jsonl"))
    monkeypatch.setattr(keys, "_ROOT", root)
    monkeypatch.setattr(
        keys, "import_module", lambda name: type("M", (), {"__file__": str(root.joinpath(*name.split(".")[1:]))})
    )
    hash_code.cache_clear()
    hash_judging.cache_clear()
    yield root
    hash_code.cache_clear()
    hash_judging.cache_clear()


def hash_again(family):
    hash_code.cache_clear()
    return hash_code(CLASSIFIERS.get(family))


@pytest.mark.parametrize(
    ("name", "changed"),
    [
        ("models/classical/_heads.py", True),
        ("models/_base.py", True),
        ("data/_text.py", True),
        ("training/_loop.py", True),
        ("metrics/_security.py", True),
        ("experiment/_fit.py", True),
        ("models/anchors.yaml", True),
        ("llm/_load.py", True),
        ("config.py", True),
        ("models/transformer/_train.py", False),
        ("models/rules/_model.py", False),
        ("experiment/_run.py", False),
        ("report/_html.py", False),
    ],
)
def test_a_familys_hash_changes_with_its_own_sources_and_the_shared_ones(sources, name, changed):
    before = hash_again("classical")
    with (sources / name).open("a") as handle:
        handle.write("# edited\n")
    assert (hash_again("classical") != before) is changed


def test_a_family_that_imports_another_changes_with_it(sources):
    before = hash_again("embedding")
    with (sources / "models" / "classical" / "_heads.py").open("a") as handle:
        handle.write("# edited\n")
    assert hash_again("embedding") != before


def test_judging_has_a_hash_of_its_own(sources):
    before = hash_judging()
    hash_judging.cache_clear()
    with (sources / "metrics" / "_bootstrap.py").open("a") as handle:
        handle.write("# edited\n")
    assert hash_judging() != before


def test_a_familys_hash_is_the_same_twice():
    assert hash_again("rules") == hash_again("rules") != hash_again("classical")


def test_files_that_settings_name_count_by_their_contents(tmp_path):
    path = tmp_path / "list.yaml"
    path.write_text("one")
    before = hash_files({"file": str(path), "other": str(path)})
    path.write_text("two")
    assert list(before) == ["file"]
    assert hash_files({"file": str(path)}) != before
    assert hash_files({"model": "a/b", "file": None, "encoder": ""}) == {}
    deep = {"members": [{"settings": {"file": str(path)}}]}
    assert list(hash_files(deep)) == ["members.0.settings.file"]


def test_a_file_of_the_home_folder_counts_too(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "teach").mkdir()
    (tmp_path / "teach" / "weights").write_text("one")
    assert list(hash_files({"distill": {"teacher": "~/teach"}})) == ["distill.teacher"]


def test_a_model_of_the_hub_counts_by_what_is_in_the_cache(tmp_path, monkeypatch):
    asked = []

    def find(name, fetch=True):
        asked.append((name, fetch))
        return str(tmp_path)

    monkeypatch.setattr(keys, "resolve_model", find)
    (tmp_path / "config.json").write_text("{}")
    before = hash_files({"encoder": "a/b", "other": "a/b", "model": "embedded:minilm"})
    assert list(before) == ["encoder"]
    (tmp_path / "config.json").write_text('{"layers": 2}')
    assert hash_files({"encoder": "a/b"}, fetch=True) != before
    assert asked == [("a/b", False), ("a/b", True)]


def test_the_settings_of_a_members_preset_count_under_its_own(tmp_path, monkeypatch):
    path = tmp_path / "list.yaml"
    path.write_text("one")
    monkeypatch.setattr(keys, "find_preset", lambda name: (None, {"file": str(path), "model": "not/here"}))
    monkeypatch.setattr(keys, "resolve_model", lambda name, fetch: pytest.fail("the preset's model is not used"))
    member = {"preset": "mine", "settings": {"model": "embedded:minilm"}}
    assert list(hash_files({"members": [member]})) == ["members.0.settings.file"]


def test_a_preset_or_a_home_that_is_not_there_counts_for_nothing():
    assert hash_files({"teacher": "no_such_preset", "file": "~no_such_user/x", "preset": "none"}) == {}


def test_splits_count_by_their_rows():
    one, other = (Split("test", np.arange(4), np.arange(4, number)) for number in (6, 7))
    assert hash_split(one) == hash_split(Split("test", np.arange(4), np.arange(4, 6))) != hash_split(other)
    assert hash_split(Split("test", np.arange(4), np.arange(4, 6), np.arange(6, 8))) != hash_split(one)
