import json
from dataclasses import replace

import pytest

from demur.metrics import Estimate
from demur.report import RunView
from demur.report import _story as story
from demur.report._compare import Difference, differences
from demur.report._views import TaskView
from demur.tasks import JAILBREAK


def figure(value, spread=0.02):
    return {"value": value, "low": value - spread, "high": value + spread, "n": 500, "reason": None}


def evaluation(score, f1=None, n=500, groups=200, warnings=()):
    metrics = {"custom_score": figure(score), "f1_macro": figure(f1 or score)}
    return {"metrics": metrics, "n": n, "groups": groups, "warnings": list(warnings)}


def model(name, family="classical", **evaluations):
    return {"model": name, "family": family, "status": "ok", "evaluations": evaluations}


def task_of(*models, winner="win", **more):
    raw = {
        "task": JAILBREAK.model_dump(mode="json"),
        "winner": winner,
        "models": list(models),
        "why": "",
        "data": {},
    }
    return TaskView("jailbreak", raw | more)


def gap(other, value, low, high):
    return Difference(
        "win", other, "test", "custom_score", 0.8, 0.8 - value, Estimate(value, low, high, 500), None
    )


@pytest.fixture
def plain_run(tmp_path):
    return RunView(tmp_path)


@pytest.fixture
def good_task():
    return task_of(
        model("rules", "rules", test=evaluation(0.5)),
        model("win", test=evaluation(0.9), blind=evaluation(0.89)),
        model("next", test=evaluation(0.8)),
    )


def test_the_question_names_labels_and_texts(plain_run, good_task):
    asked = story.question(plain_run, good_task)
    assert asked == (
        "Which of 3 models best tells “attack_failed” or “attack_succeeded” from the prompt and response?"
    )


def test_one_model_alone_is_no_contest(plain_run):
    asked = story.question(plain_run, task_of(model("win", test=evaluation(0.9))))
    assert asked.startswith("How well one model tells")


def test_the_reason_is_a_sentence_in_plain_words():
    assert story.reason(task_of(why="highest custom_score of 3")) == "Highest security score of 3."
    assert story.reason(task_of(why="")) == ""


def test_the_standing_gives_both_differences_with_intervals(run, refusal):
    text = story.standing(refusal, differences(run, refusal))
    assert "against the rules" in text
    assert f"against {refusal.runner_up.name}" in text
    assert text.count("[") == 2


def test_without_differences_there_is_no_standing(good_task):
    assert story.standing(good_task, []) == ""


def test_the_origin_names_rows_groups_and_sources(refusal):
    text = story.origin(refusal)
    assert text.startswith("Figures on the test split: 150 rows in ")
    assert "desk" in text
    assert "Blind set: 150 rows" in text


def test_the_origin_says_where_there_is_no_blind_set(run):
    assert story.origin(run.task("prompt_risk")).endswith("There is no blind set.")


def test_many_sources_are_cut_short():
    counts = {f"s{number}": 1 for number in range(9)}
    task = task_of(model("win", test=evaluation(0.9)), data={"test": {"n": 9, "sources": counts}})
    assert "s5 and 3 more" in story.origin(task)


def test_a_sound_result_is_warned_of_its_labels_alone(plain_run, good_task):
    said = story.cautions(plain_run, good_task, [gap("rules", 0.4, 0.3, 0.5), gap("next", 0.1, 0.05, 0.2)])
    assert len(said) == 1
    assert said[0].startswith("The labels are taken as given")


def test_the_starter_corpus_is_named_first(tmp_path, good_task):
    (tmp_path / "run.json").write_text(json.dumps({"config": {"data": [{"path": "starter:desk"}]}}))
    assert "starter corpus" in story.cautions(RunView(tmp_path), good_task, [])[0]


def test_few_rows_and_groups_are_said(plain_run):
    task = task_of(model("win", test=evaluation(0.9, n=40, groups=12)))
    assert any("only 40 rows and 12 groups" in text for text in story.cautions(plain_run, task, []))


def test_a_lead_over_the_rules_that_is_not_shown_is_said(plain_run, good_task):
    said = story.cautions(plain_run, good_task, [gap("rules", 0.05, -0.02, 0.1)])
    assert any("not shown to be better than the keyword rules" in text for text in said)


def test_a_winner_below_the_rules_is_said_to_be(plain_run, good_task):
    said = story.cautions(plain_run, good_task, [gap("rules", -0.05, -0.1, 0.02)])
    assert any(text.startswith("It scores below the keyword rules: the difference") for text in said)


def test_groups_are_counted_once(plain_run):
    few = evaluation(0.9, n=40, groups=12, warnings=["only 12 groups: with fewer than 30, too narrow"])
    said = story.cautions(plain_run, task_of(model("win", test=few)), [])
    assert sum("12 groups" in text for text in said) == 1


def test_warnings_of_the_rows_that_chose_are_not_passed_on(plain_run):
    task = task_of(model("win", test=evaluation(0.9), valid=evaluation(0.9, warnings=["only 9 groups"])))
    assert not any("9 groups" in text for text in story.cautions(plain_run, task, []))


def test_a_lead_over_the_runner_up_that_is_not_shown_is_said(plain_run, good_task):
    said = story.cautions(plain_run, good_task, [gap("next", 0.05, -0.02, 0.1)])
    assert any("not shown to be better than next" in text for text in said)


def test_a_model_that_scores_higher_on_the_test_rows_is_named(plain_run, good_task):
    said = story.cautions(plain_run, good_task, [gap("next", -0.05, -0.1, 0.02)])
    assert any(
        text.startswith("next scores higher on these rows; the choice was made on other rows") for text in said
    )


def test_a_better_model_that_misses_a_threshold_is_said_to(plain_run, good_task):
    good_task.raw["models"][2]["failed_thresholds"] = ["latency_ms_p95 90 is above 50"]
    said = story.cautions(plain_run, good_task, [gap("next", -0.05, -0.1, 0.02)])
    assert any("next scores higher on these rows but misses a threshold: latency" in text for text in said)


def test_rules_that_win_are_said_to(plain_run):
    task = task_of(model("win", "rules", test=evaluation(0.9)))
    assert any("The keyword rules won" in text for text in story.cautions(plain_run, task, []))


def test_a_fall_on_unseen_rows_is_one_sentence_with_both_figures(plain_run):
    fallen = model("win", test=evaluation(0.9), leave_one_source_out=evaluation(0.6), blind=evaluation(0.7))
    said = [text for text in story.cautions(plain_run, task_of(fallen), []) if "macro-F1 is" in text]
    assert len(said) == 1
    assert "0.60 [0.58, 0.62] on sources it was not trained on and 0.70" in said[0]
    assert "overlap" not in said[0]


def test_overlapping_intervals_are_said_to_overlap(plain_run):
    fallen = model("win", test=evaluation(0.9), blind={"metrics": {"f1_macro": figure(0.84, 0.1)}, "n": 500})
    assert any("the intervals overlap" in text for text in story.cautions(plain_run, task_of(fallen), []))


def test_no_fall_is_no_sentence(plain_run, good_task):
    assert not any("macro-F1 is" in text for text in story.cautions(plain_run, good_task, []))


def test_a_missing_blind_set_is_said_once(run):
    said = story.cautions(run, run.task("prompt_risk"), [])
    assert sum("blind set" in text for text in said) == 1


def test_failed_models_are_named_with_the_reason(run, refusal):
    said = story.cautions(run, refusal, [])
    assert any(text.startswith("broken_model failed and is not compared: ValueError: loss") for text in said)


def test_warnings_of_the_run_and_of_the_figures_are_passed_on(plain_run):
    task = task_of(
        model("win", test=evaluation(0.9, warnings=["only 9 groups"]), blind=evaluation(0.9)),
        warnings=["3 rows left out"],
    )
    said = story.cautions(plain_run, task, [])
    assert "Test split: only 9 groups." in said
    assert "3 rows left out." in said


def test_without_a_winner_only_what_holds_anyway_is_said(plain_run):
    said = story.cautions(plain_run, task_of(winner=None), [])
    assert not any(text.startswith("Its") or "better" in text for text in said)


def test_a_lead_that_many_tests_take_back_says_so(plain_run, good_task):
    found = [replace(gap("next", 0.1, 0.01, 0.19), p=0.3)]
    said = story.cautions(plain_run, good_task, found)
    assert (
        "It is not shown to be better than next: the difference is +0.100 [+0.010, +0.190], and p = 0.30 once it "
        "is adjusted over all pairs of models."
    ) in said


def test_a_skipped_model_is_not_called_failed(plain_run):
    skipped = model("hub") | {"status": "skipped", "reason": "no hub is reachable"}
    task = task_of(model("win", test=evaluation(0.9)), skipped)
    assert "hub was skipped and is not compared: no hub is reachable." in story.cautions(plain_run, task, [])


def test_many_skipped_models_share_a_sentence(plain_run):
    skipped = [model(name) | {"status": "skipped", "reason": f"no {name} on the hub"} for name in "abc"]
    broken = model("d") | {"status": "failed", "reason": "ValueError: loss"}
    task = task_of(model("win", test=evaluation(0.9)), *skipped, broken)
    said = "3 models were skipped and are not compared: a, b and c. The reason for a: no a on the hub."
    assert story.left_out(task) == [
        ("failed", "d failed and is not compared: ValueError: loss."),
        ("skipped", said),
    ]
    assert said in story.cautions(plain_run, task, [])
