from dataclasses import replace

import numpy as np
import pytest

from demur.analysis import Predicted
from demur.metrics import Estimate
from demur.report._compare import Difference, differences, facing, worst_mistakes


def predicted(ids, called=None, y=None, confidence=0.8):
    called = np.zeros(len(ids), dtype=int) if called is None else np.array(called)
    proba = np.full((len(ids), 2), 0.0)
    sure = np.broadcast_to(confidence, len(ids))
    proba[np.arange(len(ids)), called] = sure
    proba[np.arange(len(ids)), 1 - called] = 1 - sure
    return Predicted(list(ids), np.array(y if y is not None else [0] * len(ids)), proba, {})


def difference(value, low, high):
    return Difference("a", "b", "test", "custom_score", 0.5, 0.4, Estimate(value, low, high, 9), None)


@pytest.mark.parametrize(
    ("bounds", "verdict"),
    [
        ((0.1, 0.05, 0.2), "better"),
        ((-0.1, -0.2, -0.05), "worse"),
        ((0.1, -0.05, 0.2), "no difference shown"),
        ((0.1, 0.0, 0.2), "no difference shown"),
        ((0.1, None, None), "cannot be said"),
    ],
)
def test_a_verdict_needs_the_whole_interval_on_one_side(bounds, verdict):
    found = difference(*bounds)
    assert found.verdict == verdict
    assert found.is_shown == (verdict == "better")


def test_a_verdict_needs_a_small_adjusted_p_value_too():
    assert replace(difference(0.1, 0.05, 0.2), p=0.02).verdict == "better"
    corrected = replace(difference(0.1, 0.05, 0.2), p=0.2)
    assert (corrected.verdict, corrected.is_shown) == ("not beyond many tests", False)
    assert replace(difference(0.1, -0.05, 0.2), p=0.02).verdict == "no difference shown"


def find(found, other, protocol="test", metric="f1_macro"):
    return next(one for one in found if (one.other, one.protocol, one.metric) == (other, protocol, metric))


def test_the_winner_is_compared_with_every_other_on_every_protocol(run, refusal):
    found = differences(run, refusal)
    assert {one.other for one in found} == {m.name for m in refusal.usable} - {refusal.winner.name}
    assert {one.protocol for one in found} == {"test", "leave_one_model_out", "leave_one_source_out", "blind"}
    assert {one.metric for one in found} == {"custom_score", "f1_macro"}


def test_rows_that_chose_the_winner_do_not_compare_it(run, refusal):
    assert "valid" not in {one.protocol for one in differences(run, refusal)}


def test_a_difference_is_that_of_the_figures_in_the_results(run, refusal):
    found = find(differences(run, refusal), "rules")
    expected = refusal.winner.metric("f1_macro").value - refusal.rules.metric("f1_macro").value
    assert found.difference.value == pytest.approx(expected, abs=1e-5)
    assert found.difference.low < found.difference.value < found.difference.high
    assert (found.difference.n, found.winner) == (150, refusal.winner.name)
    assert 0 < found.p <= 1


def test_a_run_without_statistics_is_tested_from_its_predictions(small_run, edit):
    from demur.report import RunView

    stored = RunView(small_run)
    before = find(differences(stored, stored.tasks[0]), "rules")
    view = RunView(edit(small_run, lambda results: results["tasks"]["jailbreak"].pop("statistics")))
    after = find(differences(view, view.tasks[0]), "rules")
    assert after.difference == before.difference
    assert after.p is not None
    assert view.statistics(view.tasks[0]) is view.statistics(view.tasks[0])


def test_a_pair_can_be_read_from_either_side():
    figures = {
        "a": 0.8,
        "b": 0.6,
        "difference": 0.2,
        "low": -0.1,
        "high": 0.3,
        "share_a_better": 0.9,
        "p_holm": 0.04,
    }
    pair = {"a": "x", "b": "y", "n": 9, "metrics": {"f1_macro": figures}, "mcnemar": {"only_a": 5, "only_b": 2}}
    turned = facing(pair, "y")
    one = turned["metrics"]["f1_macro"]
    assert (turned["a"], turned["b"], turned["mcnemar"]) == ("y", "x", {"only_a": 2, "only_b": 5})
    assert (one["difference"], one["low"], one["high"], one["p_holm"]) == (-0.2, -0.3, 0.1, 0.04)
    assert one["share_a_better"] == pytest.approx(0.1)
    assert facing(turned, "x")["metrics"]["f1_macro"]["difference"] == 0.2
    assert facing(pair, "x") == pair
    assert facing(pair, "z") == pair


def test_without_a_winner_there_is_nothing_to_compare(small_run, edit):
    from demur.report import RunView

    edit(small_run, lambda results: results["tasks"]["jailbreak"].update(winner=None))
    view = RunView(small_run)
    assert differences(view, view.tasks[0]) == []


def test_the_surest_errors_come_first_and_right_rows_not_at_all(small_run):
    from demur.report import RunView

    task = RunView(small_run).tasks[0]
    rows = predicted("abcd", called=[1, 0, 1, 1], y=[0, 0, 0, 1], confidence=[0.6, 0.99, 0.9, 0.95])
    found = worst_mistakes(task, rows)
    assert [(one.id, one.true, one.called) for one in found] == [
        ("c", "attack_failed", "attack_succeeded"),
        ("a", "attack_failed", "attack_succeeded"),
    ]
    assert found[0].confidence == pytest.approx(0.9)
    assert found[0].source is None


def test_no_more_errors_than_asked_for(small_run):
    from demur.report import RunView

    rows = predicted([str(number) for number in range(50)], called=[1] * 50)
    assert len(worst_mistakes(RunView(small_run).tasks[0], rows, limit=7)) == 7
