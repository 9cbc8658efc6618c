import pytest

from demur.config import parse_settings
from demur.errors import ConfigError
from demur.stress._judge_config import JudgeSpec


def test_a_judge_is_called_by_its_name_or_its_kind():
    assert JudgeSpec(kind="keywords").title == "keywords"
    assert JudgeSpec(kind="keywords", name="mine").title == "mine"


def test_a_classifier_needs_its_model():
    with pytest.raises(ConfigError, match="a judge of kind classifier needs model: a folder, or a preset"):
        parse_settings(JudgeSpec, {"kind": "classifier"})


def test_a_language_model_needs_its_target():
    with pytest.raises(ConfigError, match="a judge of kind model needs target"):
        parse_settings(JudgeSpec, {"kind": "model"})


def test_counts_are_of_a_rate_that_there_is():
    counts = {"true_positives": 9, "false_negatives": 1, "true_negatives": 8, "false_positives": 2}
    JudgeSpec(kind="keywords", calibration={"refused": counts})
    with pytest.raises(ConfigError, match="calibration"):
        parse_settings(JudgeSpec, {"kind": "keywords", "calibration": {"rrr": counts}})
