"""Settings of the transformer family."""

from __future__ import annotations

from pathlib import Path

import pytest

from demur.config import parse_settings
from demur.errors import ConfigError
from demur.models.transformer import TransformerClassifier, TransformerConfig
from demur.models.transformer._config import DistillSettings, LoraSettings


def test_every_preset_is_a_valid_configuration() -> None:
    for name, values in TransformerClassifier.presets.items():
        assert parse_settings(TransformerConfig, values, name)


def test_a_nested_unknown_key_names_its_path_and_the_nearest() -> None:
    with pytest.raises(ConfigError, match=r"unknown key 'train\.epoch'; did you mean 'epochs'"):
        parse_settings(TransformerConfig, {"train": {"epoch": 3}})


def test_limits_are_those_of_the_settings() -> None:
    limits = TransformerConfig(max_tokens=100, prompt_tokens=20, response_cut="middle").limits
    assert (limits.max_tokens, limits.prompt_tokens, limits.response_cut) == (100, 20, "middle")


def test_settings_survive_json() -> None:
    config = TransformerConfig(freeze_layers=3, fields=("response",))
    assert TransformerConfig.model_validate_json(config.model_dump_json()) == config


def test_every_field_is_described() -> None:
    assert all(field.description for field in TransformerConfig.model_fields.values())


def test_freezing_blocks_goes_with_full_tuning_alone() -> None:
    with pytest.raises(ConfigError, match=r"freeze_layers=2 is for tuning: full; .*leave it out"):
        parse_settings(TransformerConfig, {"freeze_layers": 2, "tuning": "lora"})


def test_full_tuning_cannot_be_stored_as_changes() -> None:
    with pytest.raises(ConfigError, match="store: changes needs tuning: lora or head"):
        parse_settings(TransformerConfig, {"store": "changes"})


@pytest.mark.parametrize(
    ("teacher", "told"),
    [
        ({"preset": "a", "family": "b"}, "either preset: or family:"),
        ({"settings": {}}, "either preset: or family:"),
        ({"preset": "a", "size": 3}, "it has size besides"),
        ("tfidf_logrek", r"teacher: no model is called 'tfidf_logrek'.*did you mean 'tfidf_logreg'"),
        ({"family": "classicla"}, r"teacher: no classifier is called 'classicla'.*did you mean 'classical'"),
        (
            {"preset": "tfidf_nb", "settings": {"hed": 1}},
            r"distill\.teacher: unknown key 'hed'; did you mean 'head'",
        ),
        ({"preset": "a/b"}, "teacher: no model is called 'a/b'"),
        ({"preset": "tfidf_nb", "settings": 5}, "its settings a mapping; found settings: 5"),
        ({"preset": None}, "is a name, its settings a mapping; found name None"),
    ],
)
def test_a_teacher_that_is_described_badly_is_refused(teacher: dict[str, object], told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        parse_settings(TransformerConfig, {"distill": {"teacher": teacher}})


def test_a_teachers_folder_is_looked_for_when_it_is_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert DistillSettings(teacher="runs/none/yet").teacher == "runs/none/yet"
    (tmp_path / "taught").mkdir()
    found = DistillSettings(teacher="taught")
    (tmp_path / "taught").rmdir()
    assert DistillSettings.model_validate(found.model_dump(mode="json")) == found


def test_one_fold_of_teachers_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"folds is 1; give 0 for none, or at least 2"):
        parse_settings(TransformerConfig, {"distill": {"teacher": "tfidf_nb", "folds": 1}})


@pytest.mark.parametrize("part", [LoraSettings, DistillSettings])
def test_every_field_of_a_part_is_described(part: type[LoraSettings]) -> None:
    assert all(field.description for field in part.model_fields.values())
