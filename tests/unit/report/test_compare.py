import numpy as np
import pytest

from demur.metrics import Estimate
from demur.report._compare import Difference, differences, paired_difference, worst_mistakes
from demur.analysis import Predicted, align


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


def test_the_winner_is_compared_with_rules_and_runner_up_on_every_protocol(run, refusal):
    found = differences(run, refusal)
    assert {one.other for one in found} == {"rules", refusal.runner_up.name}
    assert {one.protocol for one in found} == {"test", "leave_one_model_out", "leave_one_source_out", "blind"}
    assert {one.metric for one in found} == {"custom_score", "f1_macro"}


def test_rows_that_chose_the_winner_do_not_compare_it(run, refusal):
    assert "valid" not in {one.protocol for one in differences(run, refusal)}


def test_a_difference_is_that_of_the_figures_in_the_results(run, refusal):
    found = paired_difference(run, refusal, refusal.winner, refusal.rules, "test", "f1_macro")
    expected = refusal.winner.metric("f1_macro").value - refusal.rules.metric("f1_macro").value
    assert found.difference.value == pytest.approx(expected)
    assert found.difference.low < found.difference.value < found.difference.high
    assert found.difference.n == 150


def test_equal_seeds_give_equal_intervals(run, refusal):
    pair = [paired_difference(run, refusal, refusal.winner, refusal.rules, "test", "f1_macro") for _ in range(2)]
    assert pair[0] == pair[1]


def test_without_predictions_there_is_no_difference(run, refusal):
    assert paired_difference(run, refusal, refusal.winner, refusal.failed[0], "test", "f1_macro") is None


def test_without_a_winner_there_is_nothing_to_compare(small_run, edit):
    from demur.report import RunView

    edit(small_run, lambda results: results["tasks"]["jailbreak"].update(winner=None))
    view = RunView(small_run)
    assert differences(view, view.tasks[0]) == []


def test_equal_rows_are_left_as_they_are():
    a, b = predicted("abc"), predicted("abc")
    assert align(a, b) == (a, b)


def test_rows_are_matched_by_id_and_the_others_left_out():
    a, b = predicted("abcd", called=[0, 1, 0, 1]), predicted("dxb", called=[0, 0, 1])
    left, right = align(a, b)
    assert left.ids == right.ids == ["b", "d"]
    np.testing.assert_array_equal(left.called, [1, 1])
    np.testing.assert_array_equal(right.called, [1, 0])


def test_a_repeated_id_is_matched_once_for_each_repeat():
    left, right = align(predicted("aab"), predicted("aba", called=[0, 0, 1]))
    assert left.ids == right.ids == ["a", "a", "b"]
    np.testing.assert_array_equal(right.called, [0, 1, 0])


def test_models_without_a_common_row_share_nothing():
    assert len(align(predicted("ab"), predicted("cd"))[0]) == 0


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
