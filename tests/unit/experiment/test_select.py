"""Tests of choosing the winner: the score first, then the thresholds, never on the test rows."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from demur.config import parse_settings
from demur.errors import ConfigError
from demur.experiment._config import SelectConfig
from demur.experiment._select import COSTS, check_select, select_winner
from demur.tasks import BUILT_IN

TASK = BUILT_IN["refusal"]


def settings(**values):
    return parse_settings(SelectConfig, values)


def figure(value, low=None, high=None):
    return {"value": value, "low": low, "high": high, "n": 50, "reason": None}


def model(name, score, *, f1=0.5, status="ok", on="valid", latency=1.0, **further):
    """A result as in experiment_results.json, with figures of one protocol and others on the test rows."""
    metrics = {"custom_score": figure(score), "f1_macro": figure(f1)}
    metrics |= {metric: figure(value) for metric, value in further.items()}
    wrong = {
        metric: figure(None if entry["value"] is None else 1 - entry["value"]) for metric, entry in metrics.items()
    }
    return {
        "model": name,
        "status": status,
        "evaluations": {on: {"metrics": metrics}, "test": {"metrics": wrong}} if status == "ok" else {},
        **dict.fromkeys(COSTS, latency),
    }


def figures_of(one):
    metrics = one["evaluations"]["valid"]["metrics"]
    return [metrics[name]["value"] for name in ("custom_score", "f1_macro")]


def test_the_highest_score_on_the_validation_rows_wins():
    models = [model("low", 0.2), model("high", 0.8), model("middle", 0.5)]
    winner, why = select_winner(TASK, models, settings())
    assert winner == "high"
    assert "highest custom_score, 0.800, n=50, of 3 models on the validation rows; next middle with 0.500" in why


def test_exactly_the_winner_is_marked():
    models = [model("low", 0.2), model("high", 0.8)]
    select_winner(TASK, models, settings())
    assert [one["selected"] for one in models] == [False, True]


def test_the_interval_is_said():
    one = model("one", 0.7)
    one["evaluations"]["valid"]["metrics"]["custom_score"] = figure(0.7, 0.6, 0.8)
    assert "0.700 [0.600, 0.800]" in select_winner(TASK, [one], settings())[1]


def test_a_tie_goes_to_the_higher_macro_f1():
    models = [model("first", 0.7, f1=0.5), model("second", 0.7, f1=0.6)]
    assert select_winner(TASK, models, settings())[0] == "second"


def test_a_full_tie_goes_to_the_first_of_the_configuration():
    models = [model("first", 0.7), model("second", 0.7)]
    assert select_winner(TASK, models, settings())[0] == "first"


@given(st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), min_size=1, max_size=6), st.randoms())
def test_the_winner_does_not_depend_on_the_order_unless_all_is_equal(figures, shuffler):
    models = [model(f"m{number}", score, f1=f1) for number, (score, f1) in enumerate(figures)]
    first = next(one for one in models if one["model"] == select_winner(TASK, models, settings())[0])
    shuffler.shuffle(models)
    second = next(one for one in models if one["model"] == select_winner(TASK, models, settings())[0])
    assert figures_of(first) == figures_of(second)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=6))
def test_no_model_scores_above_the_winner(scores):
    models = [model(f"m{number}", score) for number, score in enumerate(scores)]
    winner, _ = select_winner(TASK, models, settings())
    assert scores[int(winner[1:])] == max(scores)


@pytest.mark.parametrize("metric", ["false_alarm_rate", "missed_threat_rate", "ece"])
def test_of_a_metric_that_should_be_low_the_lowest_wins(metric):
    models = [model("bad", 0.9, **{metric: 0.4}), model("good", 0.1, **{metric: 0.05})]
    assert select_winner(TASK, models, settings(metric=metric))[0] == "good"


def test_the_words_of_a_metric_that_should_be_low_say_lowest():
    why = select_winner(TASK, [model("one", 0.9, ece=0.4)], settings(metric="ece"))[1]
    assert why.startswith("lowest ece, 0.400")


def test_a_model_below_a_threshold_does_not_win_and_says_which():
    models = [model("fast", 0.4, recall_c2=0.9), model("best", 0.9, recall_c2=0.3)]
    winner, why = select_winner(TASK, models, settings(thresholds={"recall_c2": {"min": 0.5}}))
    assert winner == "fast"
    assert models[1]["failed_thresholds"] == ["recall_c2 0.3 is below 0.5"]
    assert "best scored better but failed a threshold" in why
    assert "passes 1 threshold" in why


@pytest.mark.parametrize("cost", COSTS)
def test_what_a_model_costs_may_be_bounded(cost):
    models = [model("slow", 0.9, latency=80.0), model("fast", 0.4, latency=2.0)]
    assert select_winner(TASK, models, settings(thresholds={cost: {"max": 10}}))[0] == "fast"
    assert models[0]["failed_thresholds"] == [f"{cost} 80 is above 10"]


def test_a_bound_itself_is_allowed():
    models = [model("one", 0.9, recall_c2=0.5, latency=10.0)]
    bounds = {"recall_c2": {"min": 0.5, "max": 0.5}, "latency_ms_p95": {"max": 10}}
    assert select_winner(TASK, models, settings(thresholds=bounds))[0] == "one"


def test_a_figure_that_could_not_be_measured_fails_its_threshold():
    models = [model("one", 0.9, recall_c2=None)]
    winner, why = select_winner(TASK, models, settings(thresholds={"recall_c2": {"min": 0.1}}))
    assert winner is None
    assert "recall_c2 could not be measured" in why


def test_where_none_passes_there_is_no_winner_and_the_best_says_what_it_fails():
    models = [model("one", 0.2, recall_c2=0.1), model("two", 0.9, recall_c2=0.2)]
    winner, why = select_winner(TASK, models, settings(thresholds={"recall_c2": {"min": 0.5}}))
    assert winner is None
    assert why == (
        "no model passes every threshold; the best of 2 by custom_score, two, fails: recall_c2 0.2 is below 0.5"
    )
    assert not any(one["selected"] for one in models)


def test_a_failed_model_never_wins():
    models = [model("broken", 1.0, status="failed"), model("poor", 0.01)]
    assert select_winner(TASK, models, settings())[0] == "poor"
    assert models[0]["selected"] is False
    assert models[0]["failed_thresholds"] == []


@pytest.mark.parametrize("models", [[], [model("broken", 1.0, status="failed")], [model("empty", None)]])
def test_without_a_scored_model_there_is_no_winner(models):
    assert select_winner(TASK, models, settings()) == (None, "no model of this task could be trained and scored")


def test_cross_validated_rows_choose_when_asked():
    models = [model("one", 0.9, on="cv"), model("two", 0.5, on="cv")]
    winner, why = select_winner(TASK, models, settings(on="cv"))
    assert winner == "one"
    assert "on the cross-validated rows" in why


def test_of_the_cross_validated_rows_the_test_rows_do_not_choose():
    models = [model("lucky on the test rows", 0.9, on="cv"), model("better elsewhere", 0.8, on="cv")]
    for one, elsewhere in zip(models, (0.6, 0.7), strict=True):
        cv = one["evaluations"]["cv"]
        cv["choosing"] = {"metrics": cv["metrics"] | {"custom_score": figure(elsewhere)}}
    winner, why = select_winner(TASK, models, settings(on="cv"))
    assert winner == "better elsewhere"
    assert "0.700, n=50, of 2 models on the cross-validated rows less the test and validation rows" in why
    assert "next lucky on the test rows with 0.600" in why


def test_auto_takes_cross_validation_only_where_every_model_went_through_it():
    both = [model("one", 0.9, on="cv"), model("two", 0.5, on="cv")]
    assert "cross-validated" in select_winner(TASK, both, settings())[1]
    mixed = [model("one", 0.9, on="cv"), model("two", 0.5)]
    mixed[0]["evaluations"]["valid"] = model("one", 0.1)["evaluations"]["valid"]
    winner, why = select_winner(TASK, mixed, settings())
    assert winner == "two"
    assert "on the validation rows" in why


def with_search(one, nested):
    """The model as if its settings had been searched, and as if it had been judged on validation rows too."""
    one["search"] = {"nested": nested}
    one["evaluations"]["valid"] = model("one", 0.1)["evaluations"]["valid"]
    return one


@pytest.mark.parametrize(("nested", "rows"), [(False, "validation"), (True, "cross-validated")])
def test_auto_takes_validation_rows_where_settings_were_searched_once_on_rows_of_every_fold(nested, rows):
    models = [with_search(model("tuned", 0.9, on="cv"), nested), with_search(model("plain", 0.5, on="cv"), True)]
    assert f"on the {rows} rows" in select_winner(TASK, models, settings())[1]


def test_the_choice_on_cross_validated_rows_says_which_settings_were_searched_on_them():
    models = [with_search(model("tuned", 0.9, on="cv"), False), model("plain", 0.5, on="cv")]
    said = "settings of tuned were searched once on rows of these folds, which flatters"
    assert said in select_winner(TASK, models, settings(on="cv"))[1]
    assert said not in select_winner(TASK, models, settings(on="valid"))[1]
    for one in models:
        one["evaluations"].pop("valid", None)
    assert said in select_winner(TASK, models, settings())[1]


def test_a_failed_model_does_not_keep_the_others_from_cross_validation():
    models = [model("one", 0.9, on="cv"), model("broken", 0.5, status="failed")]
    assert "cross-validated" in select_winner(TASK, models, settings())[1]


@pytest.mark.parametrize("on", ["test", "blind", "leave_one_model_out"])
def test_the_test_rows_may_not_choose(on):
    with pytest.raises(ConfigError, match="key 'on': input should be 'auto', 'valid' or 'cv'"):
        settings(on=on)


def test_the_test_rows_do_not_choose():
    models = [model(f"m{number}", random.Random(number).random()) for number in range(5)]
    before = select_winner(TASK, models, settings())
    for one in models:
        one["evaluations"]["test"] = {"metrics": {}}
    assert select_winner(TASK, models, settings()) == before


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"metric": "f1_marco"}, r"select: no figure is called 'f1_marco'; did you mean 'f1_macro'\?"),
        ({"thresholds": {"latency_p95": {"max": 1}}}, r"'latency_p95'; did you mean 'latency_ms_p95'\?"),
        ({"metric": "latency_ms_p95"}, "no figure is called 'latency_ms_p95'"),
        ({"thresholds": {"recall_c7": {"min": 1}}}, "no figure is called 'recall_c7'"),
    ],
)
def test_an_unknown_figure_is_refused_with_the_nearest(values, said):
    with pytest.raises(ConfigError, match=said):
        check_select(settings(**values), [TASK])


def test_a_threshold_may_be_on_a_figure_that_only_one_task_has():
    check_select(settings(thresholds={"recall_c2": {"min": 0.5}}), list(BUILT_IN.values()))


def test_the_figure_that_decides_must_be_one_of_every_task():
    with pytest.raises(ConfigError, match="no figure is called 'recall_c2'"):
        check_select(settings(metric="recall_c2"), list(BUILT_IN.values()))


def test_a_threshold_on_a_class_that_a_task_lacks_does_not_fail_its_models():
    """``recall_c2`` bounds tasks of three classes; one of two classes has no such figure."""
    models = [model("one", 0.9)]
    winner, _ = select_winner(BUILT_IN["jailbreak"], models, settings(thresholds={"recall_c2": {"min": 0.5}}))
    assert winner == "one"


def test_a_validation_split_that_is_absent_is_said():
    models = [model("one", 0.9, on="cv")]
    winner, why = select_winner(TASK, models, settings(on="valid"))
    assert winner is None
    assert why == (
        "there are no validation rows to choose on; set split.valid (or validation.cv), or give more prompts"
    )
