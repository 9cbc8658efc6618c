import json

import pytest

from demur.errors import ArtifactError, ConfigError
from demur.models import load
from demur.serve.pool import find_models, register_models
from demur.store import open_store


@pytest.fixture
def store(tmp_path):
    with open_store(f"sqlite:///{tmp_path / 'guard.db'}") as opened:
        opened.migrate()
        yield opened


def test_a_saved_model_is_found_under_the_fingerprint_it_has_when_loaded(rules_folder):
    (row,) = find_models([rules_folder])
    assert (row.task, row.name, row.stage) == ("refusal", "rules", "champion")
    assert row.version == load(rules_folder).fingerprint
    assert row.folder == str(rules_folder)


def test_of_a_run_the_chosen_models_are_found(finished_run):
    chosen = json.loads((finished_run / "run.json").read_text())["winners"]
    assert {row.task: row.name for row in find_models([finished_run])} == chosen


def test_a_model_of_two_tasks_is_found_for_both(dual_folder):
    rows = {row.task: row for row in find_models([dual_folder])}
    assert set(rows) == {"refusal", "jailbreak"}
    assert rows["refusal"].version == rows["jailbreak"].version


def test_a_task_of_its_own_is_before_a_further_task(dual_folder, tmp_path):
    from demur.models.rules import RulesClassifier
    from demur.tasks import JAILBREAK

    RulesClassifier(JAILBREAK).save(tmp_path / "own")
    rows = {row.task: row.name for row in find_models([dual_folder, tmp_path / "own"])}
    assert rows == {"refusal": "dual", "jailbreak": "own"}


def test_two_models_of_one_task_are_refused(rules_folder, ready_folder):
    with pytest.raises(ConfigError, match=r"two models answer the task 'refusal'.*keep one"):
        find_models([rules_folder, ready_folder])


def test_no_model_is_refused():
    with pytest.raises(ConfigError, match="no model is given; name a saved model"):
        find_models([])


@pytest.mark.parametrize(
    ("file", "said"),
    [
        (None, "there is no folder"),
        ("config.json", "the head that would answer a task is newly initialised"),
        ("notes.txt", "neither a saved model .* nor a finished run"),
    ],
)
def test_a_folder_that_is_no_model_is_refused(tmp_path, file, said):
    folder = tmp_path / "folder"
    if file is not None:
        folder.mkdir()
        (folder / file).write_text("{}")
    with pytest.raises(ArtifactError, match=said):
        find_models([folder])


def test_a_run_that_chose_nothing_is_refused(finished_run, tmp_path):
    import shutil

    shutil.copytree(finished_run, tmp_path / "run")
    values = json.loads((tmp_path / "run" / "run.json").read_text())
    values["winners"] = dict.fromkeys(values["winners"])
    (tmp_path / "run" / "run.json").write_text(json.dumps(values))
    with pytest.raises(ArtifactError, match="chose no model"):
        find_models([tmp_path / "run"])


def test_an_altered_model_is_refused(rules_folder, tmp_path):
    import shutil

    shutil.copytree(rules_folder, tmp_path / "rules")
    (tmp_path / "rules" / "rules.json").write_text("{}")
    with pytest.raises(ArtifactError, match="was altered"):
        find_models([tmp_path / "rules"])


# The registry


def test_a_new_model_becomes_the_champion(store, rules_folder, ready_folder):
    register_models(store, find_models([rules_folder]))
    champions = register_models(store, find_models([ready_folder]))
    assert [row.name for row in champions] == ["tfidf_logreg"]
    assert {row.name: row.stage for row in store.models()} == {"rules": "retired", "tfidf_logreg": "champion"}


def test_what_was_promoted_meanwhile_survives_a_restart(store, rules_folder, ready_folder):
    rules, better = find_models([rules_folder])[0], find_models([ready_folder])[0]
    register_models(store, [rules])
    store.register_model(better)
    assert [row.name for row in register_models(store, [rules])] == ["tfidf_logreg"]


def test_the_configuration_can_have_its_way(store, rules_folder, ready_folder):
    rules, better = find_models([rules_folder])[0], find_models([ready_folder])[0]
    register_models(store, [rules])
    store.register_model(better)
    assert [row.name for row in register_models(store, [rules], is_forced=True)] == ["rules"]
    assert [row.act for row in store.audit_log()] == ["model.champion"]


def test_a_task_left_without_champion_gets_the_configured_one(store, rules_folder):
    (rules,) = find_models([rules_folder])
    register_models(store, [rules])
    store.set_stage("refusal", rules.version, "retired")
    assert [row.name for row in register_models(store, [rules])] == ["rules"]
