import json

import pytest

from demur.analysis import compare_run, compare_runs, read_results, run_settings
from demur.errors import RunError, UsageError


def test_a_run_is_compared_from_its_files_alone(run_of, task):
    found = compare_run(run_of())
    entry = found["tasks"][task.name]
    assert entry["winner"] == "better"
    assert list(entry["protocols"]) == ["test", "cv"]
    assert {pair["b"] for pair in entry["protocols"]["test"]["pairs"]} == {"good", "better"}
    assert (found["settings"]["draws"], found["settings"]["level"], found["settings"]["seed"]) == (200, 0.9, 5)


def test_only_what_is_asked_for_is_compared(run_of, task):
    found = compare_run(run_of(), [task.name], ["cv"], ["accuracy"])
    (pair, *_) = found["tasks"][task.name]["protocols"]["cv"]["pairs"]
    assert list(found["tasks"][task.name]["protocols"]) == ["cv"]
    assert list(pair["metrics"]) == ["accuracy"]


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"tasks": ["refusl"]}, "has no task 'refusl' .there: refusal.; did you mean 'refusal'"),
        ({"protocols": ["blind"]}, "has no two models to compare under 'blind' .there: test, cv."),
        ({"metrics": ["f1_makro"]}, "has no metric 'f1_makro'"),
    ],
)
def test_what_a_run_has_not_is_said_with_what_it_has(run_of, asked, said):
    with pytest.raises(UsageError, match=said):
        compare_run(run_of(), **asked)


def test_a_run_of_one_model_has_nothing_to_compare(run_of):
    with pytest.raises(RunError, match="no two models to compare under any name; run 'demur run'"):
        compare_run(run_of(skills={"only": 1.0}))


def test_a_folder_that_is_no_run_is_refused(tmp_path):
    with pytest.raises(RunError, match=r"holds no experiment_results\.json; give a run folder"):
        compare_run(tmp_path)


@pytest.mark.parametrize(("text", "said"), [("{", "is damaged"), ("[]", "holds no mapping")])
def test_damaged_results_are_refused(tmp_path, text, said):
    (tmp_path / "experiment_results.json").write_text(text)
    with pytest.raises(RunError, match=said):
        read_results(tmp_path)


@pytest.mark.parametrize("text", [None, "{", '{"config": null}', '{"config": {}}'])
def test_a_run_that_does_not_say_its_settings_has_the_defaults(tmp_path, text):
    if text is not None:
        (tmp_path / "run.json").write_text(text)
    assert run_settings(tmp_path).draws == 1000
    assert run_settings(tmp_path, ["accuracy"]).metrics == ("accuracy",)


def test_two_runs_are_compared_by_models_of_the_same_name_and_their_winners(run_of, task):
    first = run_of("first", skills={"rules": 0.5, "good": 1.0})
    second = run_of("second", skills={"rules": 0.5, "good": 3.0, "best": 4.0})
    found = compare_runs(first, second)
    pairs = found["tasks"][task.name]["protocols"]["test"]["pairs"]
    assert [(pair["a"], pair["b"]) for pair in pairs] == [
        ("a:rules", "b:rules"),
        ("a:good", "b:good"),
        ("a:good", "b:best"),
    ]
    assert pairs[0]["metrics"]["f1_macro"]["difference"] == 0
    assert pairs[1]["metrics"]["f1_macro"]["high"] < 0
    assert found["runs"] == {"a": str(first), "b": str(second)}


def test_runs_on_other_rows_are_refused(run_of):
    with pytest.raises(RunError, match=r"was run on other rows \(data hash cccc.* and dddd"):
        compare_runs(run_of("a", data_hash="c" * 64), run_of("b", data_hash="d" * 64))


def test_runs_with_another_split_are_refused(run_of):
    with pytest.raises(RunError, match=r"judged other rows .* \(90 shared of 120 and 90\)"):
        compare_runs(run_of("a"), run_of("b", n=90))


def test_runs_whose_task_has_other_labels_are_refused(run_of, task):
    first, second = run_of("a"), run_of("b")
    path = second / "experiment_results.json"
    results = json.loads(path.read_text())
    results["tasks"][task.name]["task"]["labels"][0] = "compliance"
    path.write_text(json.dumps(results))
    with pytest.raises(RunError, match="has other labels in the two runs"):
        compare_runs(first, second)


def test_runs_without_a_shared_task_are_refused(run_of, two_class):
    with pytest.raises(RunError, match="the two runs share no task"):
        compare_runs(run_of("a"), run_of("b", task=two_class))
