"""Tests of the registry of models: one champion a task, whoever races."""

import threading

import pytest

from demur.errors import UnknownRowError
from demur.store import ModelRow


def model(version, **values):
    defaults = {"task": "refusal", "name": f"m{version}", "folder": f"models/{version}", "stage": "challenger"}
    return ModelRow(version=version, **(defaults | values))


def test_a_model_comes_back_as_it_was_registered(store):
    row = model("1", metrics={"score": 0.9}, parent="0")
    assert store.register_model(row) == row
    assert store.models("refusal") == [row]
    assert store.model("refusal", "1") == row
    assert store.model("refusal", "2") is None


def test_a_model_registered_again_keeps_its_stage_and_takes_the_new_folder(store):
    first = store.register_model(model("1", stage="champion", metrics={"score": 0.9}))
    again = store.register_model(model("1", stage="shadow", folder="elsewhere"))
    assert (again.stage, again.folder, again.metrics, again.at) == (
        "champion",
        "elsewhere",
        {"score": 0.9},
        first.at,
    )
    assert store.models() == [again]


def test_a_new_champion_retires_the_one_before_it(store):
    store.register_model(model("1", stage="champion"))
    store.register_model(model("2", stage="champion"))
    assert store.champion("refusal").version == "2"
    store.set_stage("refusal", "1", "champion")
    assert {one.version: one.stage for one in store.models("refusal")} == {"1": "champion", "2": "retired"}


def test_each_task_has_a_champion_of_its_own(store):
    store.register_model(model("1", stage="champion"))
    store.register_model(model("1", task="jailbreak", stage="champion"))
    assert store.champion("refusal").task == "refusal"
    assert store.champion("jailbreak").task == "jailbreak"
    assert store.champion("prompt_risk") is None


def test_models_are_found_by_stage(store):
    store.register_model(model("1", stage="shadow"))
    store.register_model(model("2"))
    assert [one.version for one in store.models(stage="shadow")] == ["1"]


def test_an_unknown_model_has_no_stage(store):
    with pytest.raises(UnknownRowError, match="no version '9' of task 'refusal'"):
        store.set_stage("refusal", "9", "champion")


def test_promotions_that_race_leave_one_champion(store):
    versions = [str(number) for number in range(4)]
    for version in versions:
        store.register_model(model(version))
    threads = [threading.Thread(target=store.set_stage, args=("refusal", one, "champion")) for one in versions * 3]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    stages = sorted(one.stage for one in store.models("refusal"))
    assert stages == ["champion", "retired", "retired", "retired"]
