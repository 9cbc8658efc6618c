"""Tests of what a cell consists of: which fits, what their keys depend on, where their files lie."""

import json
from dataclasses import replace

import numpy as np
import pytest

from demur.errors import ConfigError
from demur.experiment._plan import Cell, Part
from demur.tasks import BUILT_IN


def test_the_fits_are_the_main_one_the_folds_and_the_further_seeds(cell):
    one = cell("tfidf_forest", validation={"cv": 2, "leave_one_out": ["model"]}, seeds=[1, 2])
    assert [part.words for part in one.parts] == [
        "cv 1",
        "cv 2",
        "leave one model out ada",
        "leave one model out bob",
        "seed 2",
    ]
    assert one.fits() == 6


def test_only_what_depends_on_the_seed_is_fitted_again_with_another(cell):
    searched = {"name": "searched", "preset": "tfidf_nb", "search": {"trials": 2}}
    assert [cell(model, seeds=[1, 2]).fits() for model in ("tfidf_nb", "tfidf_forest", searched)] == [1, 2, 2]


def test_every_fit_has_files_of_its_own(cell):
    one = cell("tfidf_forest", validation={"cv": 2, "leave_one_out": ["model"]}, seeds=[1, 2, 3])
    files = [path for part in (None, *one.parts) for path in one.files_of(part)]
    assert len(files) == len(set(files)) == 3 + 4 + 2 * 2


def test_a_model_that_cannot_even_be_made_still_has_a_plan(cell, monkeypatch):
    def refuse(self, *arguments):
        raise ConfigError("no list")

    one = cell("tfidf_nb", seeds=[1, 2])
    monkeypatch.setattr("demur.models.classical.ClassicalClassifier.__init__", refuse)
    assert one.fits() == 1


@pytest.mark.parametrize(
    "changes",
    [
        {"seed": 8},
        {"seeds": [8]},
        {"split": {"test": 0.3}},
        {"split": {"valid": 0.3}},
        {"model": {"preset": "tfidf_logreg", "settings": {"c": 3}}},
    ],
)
def test_the_key_changes_with_whatever_the_fit_depends_on(cell, changes):
    assert cell(**changes).key != cell().key


@pytest.mark.parametrize("changes", [{"draws": 60}, {"level": 0.9}, {"validation": {"leave_one_out": ["source"]}}])
def test_the_judging_has_a_key_of_its_own(cell, changes):
    one, other = cell(**changes), cell()
    assert one.key == other.key
    assert one.judge_key != other.judge_key


def test_the_key_changes_with_the_data_and_the_versions(cell, write, rows):
    one = cell()
    assert cell(data=[{"path": str(write(rows(118), "other.jsonl"))}]).key != one.key
    assert Cell(one.spec, one.data, one.config, one.folder, {"demur": "other"}).key != one.key


@pytest.mark.parametrize("name", ["rules.yaml", "encoder"])
def test_the_key_changes_with_the_contents_of_a_file_or_folder_that_the_settings_name(cell, tmp_path, name):
    path = tmp_path / name
    inner = path if path.suffix else path / "model.safetensors"
    inner.parent.mkdir(exist_ok=True)
    keys = set()
    for text in ("first", "second", "second"):
        inner.write_text(text)
        keys.add(cell({"name": "mine", "family": "rules", "settings": {"file": str(path)}}).key)
    assert len(keys) == 2


@pytest.fixture
def learning_several(cell):
    """A cell of a family that learns other tasks beside its own, with one other task."""
    one = cell({"name": "dual", "family": "dual"}, validation={"cv": 2})
    other = replace(one.data, task=BUILT_IN["jailbreak"])
    return replace(one, others={"refusal": one.data, "jailbreak": other})


def with_other(cell, **changes):
    other = replace(cell.others["jailbreak"], **changes)
    return replace(cell, others=cell.others | {"jailbreak": other})


def keys_of(cell):
    return [cell.key_of(part.split, part.seed) for part in cell.parts]


def test_the_key_of_a_family_with_companions_changes_with_their_task_and_groups(learning_several):
    one = learning_several
    task = one.others["jailbreak"].task
    renamed = with_other(one, task=task.model_copy(update={"fields": ("prompt",)}))
    grouped = with_other(one, base_groups=["other", *one.data.base_groups[1:]])
    assert len({one.key, renamed.key, grouped.key}) == 3
    assert not set(keys_of(one)) & set(keys_of(renamed))
    assert not set(keys_of(one)) & set(keys_of(grouped))


def test_the_folds_of_a_family_with_companions_change_with_the_blind_rows_that_bar_them(learning_several):
    one = learning_several
    barred = replace(one, data=replace(one.data, blind=one.data.records.take(np.arange(3))))
    assert not set(keys_of(one)) & set(keys_of(barred))


def test_the_folds_of_other_families_do_not_change_with_the_blind_rows(cell):
    one = cell(validation={"cv": 2})
    other = replace(one, data=replace(one.data, blind=one.data.records.take(np.arange(3))))
    assert keys_of(one) == keys_of(other)


def test_a_model_of_the_hub_is_fetched_before_its_key_is_known(cell, tmp_path, monkeypatch):
    """Else the second run would find it in the cache, and fit all again."""
    asked = []

    def fetch(name, fetch):
        asked.append((name, fetch))
        return str(tmp_path)

    monkeypatch.setattr("demur.experiment._key.resolve_model", fetch)
    spec = {"name": "mine", "family": "embedding", "settings": {"encoder": "a/b"}}
    (tmp_path / "config.json").write_text("{}")
    before = cell(spec).key
    (tmp_path / "config.json").write_text('{"layers": 2}')
    assert cell(spec).key != before
    assert asked == [("a/b", True)] * 2


def searched(nested):
    return {"preset": "tfidf_nb", "search": {"trials": 2, "nested": nested}}


def write_params(cell, **params):
    cell.facts_path.parent.mkdir(parents=True, exist_ok=True)
    cell.facts_path.write_text(json.dumps({"best_params": params}))


@pytest.mark.parametrize(("nested", "changed"), [(False, ["cv", "seed"]), (True, ["seed"])])
def test_fits_that_take_the_settings_found_by_the_main_one_are_named_by_these(cell, nested, changed):
    one = cell(searched(nested), validation={"cv": 2, "leave_one_out": []}, seeds=[1, 2])
    parts = [*one.parts, Part("seed", 0, one.data.main, 2)]
    found = []
    for smoothing in (0.1, 1.0):
        write_params(one, smoothing=smoothing)
        found.append(
            {part.protocol: [one.key_of_part(part), *one.files_of(part), one.judge_key] for part in parts}
        )
    before, after = found
    assert [name for name in before if not set(before[name][:-1]) & set(after[name][:-1])] == changed
    assert before["cv"][-1] != after["cv"][-1]


def test_the_settings_of_the_main_fit_are_nothing_before_it(cell):
    one = cell(searched(False), validation={"cv": 2})
    assert [one.params_of(part) for part in one.parts] == [{}] * len(one.parts)
    assert {one.key_of_part(part) for part in one.parts} != {one.key_of(part.split, 7) for part in one.parts}


def test_without_a_search_no_fit_takes_settings(cell):
    one = cell("tfidf_nb", validation={"cv": 2})
    write_params(one, smoothing=1)
    assert {one.params_of(part) for part in one.parts} == {None}


@pytest.mark.parametrize("changes", [{"select": {"metric": "accuracy"}}, {"report": False}, {"name": "other"}])
def test_the_key_does_not_change_with_what_only_comes_after(cell, changes):
    assert cell(**changes).key == cell().key


@pytest.mark.parametrize(
    ("change", "is_same"), [({"jobs": 4}, True), ({"folds": 2}, False), ({"trials": 3}, False)]
)
def test_more_processes_of_a_search_do_not_change_the_key(cell, change, is_same):
    one, other = (cell({"preset": "tfidf_nb", "search": search}) for search in ({}, change))
    assert (one.key == other.key) is is_same
