import pytest

from demur.config import parse_settings
from demur.errors import ConfigError
from demur.serve.retrain import LabelsConfig, RetrainConfig, TaskConfig, resolve_paths

TASK = {"experiment": "e.yaml", "golden": "g.jsonl"}


def test_no_task_is_retrained_by_default():
    assert RetrainConfig().tasks == {}


def test_flips_need_a_second_voice_by_default():
    assert LabelsConfig().confirm_flips


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"golden_sha256": "abc"}, "golden_sha256"),
        ({"compare": {"margin": 0}}, "margin"),
        ({"gather": {"holdout": 1}}, "holdout"),
        ({"labels": {"sources": []}}, "sources"),
        ({"labels": {"agrement": 1}}, "did you mean 'agreement'"),
    ],
)
def test_values_that_make_no_sense_are_refused(values, said):
    with pytest.raises(ConfigError, match=said):
        parse_settings(TaskConfig, TASK | values)


def test_names_of_tasks_are_checked():
    with pytest.raises(ConfigError, match="pattern"):
        parse_settings(RetrainConfig, {"tasks": {"../x": TASK}})


def test_files_are_looked_for_beside_the_configuration(tmp_path):
    for name in ("e.yaml", "labels.csv"):
        (tmp_path / name).write_text("")
    values = {"folder": "x", "tasks": {"refusal": TASK | {"files": [{"path": "labels.csv"}]}}}
    found = resolve_paths(values, tmp_path)
    task = found["tasks"]["refusal"]
    assert task["experiment"] == str(tmp_path / "e.yaml")
    assert task["files"] == [{"path": str(tmp_path / "labels.csv")}]
    assert task["golden"] == "g.jsonl"
    assert found["folder"] == "x"


@pytest.mark.parametrize(
    "values", [{}, {"tasks": None}, {"tasks": {"refusal": 3}}, {"tasks": {"refusal": {"files": [1]}}}]
)
def test_what_is_no_mapping_is_left_for_the_check(values, tmp_path):
    assert resolve_paths(values, tmp_path) == values


def test_the_server_knows_the_section(tmp_path):
    from demur.serve import load_serve

    (tmp_path / "e.yaml").write_text("")
    path = tmp_path / "serve.yaml"
    path.write_text("retrain: {tasks: {refusal: {experiment: e.yaml, golden: g.jsonl}}}")
    config = load_serve(path)
    assert config.retrain.tasks["refusal"].experiment == str(tmp_path / "e.yaml")
