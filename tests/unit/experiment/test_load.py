"""Tests of where an experiment's values come from: files, the environment, flags."""

import pytest

from demur.errors import ConfigError
from demur.experiment import ExperimentConfig, explain_config, load_experiment


def test_paths_in_a_file_are_relative_to_the_file(tmp_path, monkeypatch):
    for name in ("tone.yaml", "tone.jsonl"):
        (tmp_path / name).touch()
    (tmp_path / "c.yaml").write_text(
        "tasks: [tone.yaml]\ndata: [tone.jsonl, starter:desk]\nblind: [{path: gone.csv}]\n"
    )
    monkeypatch.chdir("/")
    config = load_experiment(tmp_path / "c.yaml")
    assert config.tasks == (str(tmp_path / "tone.yaml"),)
    assert [source.path for source in config.data] == [str(tmp_path / "tone.jsonl"), "starter:desk"]
    assert config.blind[0].path == "gone.csv"


def test_files_that_models_name_are_relative_to_the_file_where_they_lie_beside_it(tmp_path, monkeypatch):
    (tmp_path / "mine.yaml").write_text("")
    (tmp_path / "c.yaml").write_text(
        "models: [rules, {preset: rules, name: a, settings: {file: mine.yaml}}, "
        "{preset: rules, name: b, settings: {file: gone.yaml}}]\n"
    )
    monkeypatch.chdir("/")
    files = [model.settings.get("file") for model in load_experiment(tmp_path / "c.yaml").models]
    assert files == [None, str(tmp_path / "mine.yaml"), "gone.yaml"]


def test_flags_win_over_the_environment_and_that_over_the_file(tmp_path, monkeypatch):
    (tmp_path / "c.yaml").write_text("seed: 1\ndraws: 11\nlevel: 0.8\nvalidation: {cv: 2, min_rows: 9}\n")
    monkeypatch.setenv("DEMUR_SEED", "2")
    monkeypatch.setenv("DEMUR_DRAWS", "22")
    config = load_experiment(tmp_path / "c.yaml", {"seed": 3, "validation": {"cv": 4}})
    assert (config.seed, config.draws, config.level) == (3, 22, 0.8)
    assert (config.validation.cv, config.validation.min_rows) == (4, 9)


def test_a_fault_in_a_file_names_the_file(tmp_path):
    (tmp_path / "c.yaml").write_text("modles: [rules]")
    with pytest.raises(ConfigError, match=r"c\.yaml: unknown key 'modles'; did you mean 'models'\?"):
        load_experiment(tmp_path / "c.yaml")


def test_without_a_file_the_defaults_are_in_force():
    assert load_experiment() == ExperimentConfig()


def test_every_value_is_explained_with_its_origin(tmp_path, monkeypatch):
    (tmp_path / "c.yaml").write_text("seed: 1\nsplit: {test: 0.3}\nvalidation: {cv: 3}\n")
    monkeypatch.setenv("DEMUR_VALIDATION__CV", "4")
    found = {key: (value, origin) for key, value, origin in explain_config(tmp_path / "c.yaml")}
    assert found["seed"] == (1, "file")
    assert found["split.test"] == (0.3, "file")
    assert found["split.valid"] == (0.15, "default")
    assert found["validation.cv"] == (4, "environment")
    assert found["draws"] == (1000, "default")


def test_a_value_set_to_nothing_still_says_where(tmp_path, monkeypatch):
    (tmp_path / "c.yaml").write_text("out: null\n")
    assert ("out", None, "file") in explain_config(tmp_path / "c.yaml")
    monkeypatch.setenv("DEMUR_OUT", "null")
    assert ("out", None, "environment") in explain_config(tmp_path / "c.yaml")


def test_every_key_is_explained_once():
    keys = [key for key, _, _ in explain_config()]
    assert len(keys) == len(set(keys))
    assert {key.split(".")[0] for key in keys} == set(ExperimentConfig.model_fields)


def test_the_home_folder_is_filled_in_wherever_a_file_is_named(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path / "me"))
    (tmp_path / "c.yaml").write_text(
        "out: ~/run\ntasks: [~/tone.yaml]\ndata: [~/rows.jsonl]\nblind: [{path: ~/blind.csv}]\n"
        "models: [{preset: rules, settings: {file: ~/list.yaml}}]\n"
    )
    config = load_experiment(tmp_path / "c.yaml")
    named = [
        config.out,
        config.tasks[0],
        config.data[0].path,
        config.blind[0].path,
        config.models[0].settings["file"],
    ]
    assert named == [
        str(tmp_path / "me" / name) for name in ("run", "tone.yaml", "rows.jsonl", "blind.csv", "list.yaml")
    ]


def test_a_home_that_nobody_has_is_left_as_it_is(tmp_path):
    (tmp_path / "c.yaml").write_text("data: ['~nobody-of-this-name/rows.jsonl']\n")
    assert load_experiment(tmp_path / "c.yaml").data[0].path == "~nobody-of-this-name/rows.jsonl"


def test_files_are_found_beside_the_configuration_however_deep_they_are_named(tmp_path, monkeypatch):
    (tmp_path / "mine.yaml").write_text("")
    (tmp_path / "c.yaml").write_text(
        "models: [{preset: vote_soft, settings: {members: [{preset: rules, settings: {file: mine.yaml}}]}}]\n"
    )
    monkeypatch.chdir("/")
    (model,) = load_experiment(tmp_path / "c.yaml").models
    assert model.settings["members"][0]["settings"]["file"] == str(tmp_path / "mine.yaml")
