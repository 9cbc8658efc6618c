"""Tests of predictions and feedback: stored once however often given, found by time and kind."""

from datetime import timedelta

import pytest

from demur.errors import BadRowError
from demur.store import PredictionFilter


def test_a_prediction_comes_back_as_it_was_stored(store, prediction):
    row = prediction(
        item=3,
        experiment="e",
        arm="b",
        is_shadow=True,
        threshold={"fpr_1": 0.9},
        is_flagged=True,
        is_unsure=False,
        key_id="k",
        subject="s",
        prompt="what?",
        response="no\n'; -- \N{SNOWMAN}",
        prompt_hash="1",
        response_hash="2",
        language="en",
    )
    assert store.add_predictions([row]) == 1
    assert store.predictions() == [row]


def test_a_row_given_again_is_not_stored_again(store, prediction):
    rows = [prediction(number) for number in range(5)]
    assert store.add_predictions(rows) == 5
    assert store.add_predictions(rows) == 0
    assert store.add_predictions([*rows, prediction(9), prediction(9)]) == 1
    assert store.counts()["predictions"] == 6


def test_the_first_of_two_rows_of_an_id_is_kept(store, prediction):
    store.add_predictions([prediction(label="soft_refusal")])
    store.add_predictions([prediction(label="no_refusal")])
    assert [row.label for row in store.predictions()] == ["soft_refusal"]


def test_rows_are_stored_all_or_none(store, prediction):
    with pytest.raises(BadRowError, match="does not fit"):
        store.add_predictions([prediction(1), prediction(2, task=None), prediction(3)])
    assert store.predictions() == []


def test_many_rows_are_stored_in_one_call(store, prediction):
    assert store.add_predictions([prediction(number) for number in range(3000)]) == 3000


def test_no_rows_are_no_work(store):
    assert store.add_predictions([]) == store.add_feedback([]) == 0


def test_predictions_are_found_by_time_the_first_included_and_the_last_not(store, prediction, noon):
    store.add_predictions([prediction(number) for number in (4, 2, 0, 3, 1)])
    since, until = noon + timedelta(minutes=1), noon + timedelta(minutes=3)
    assert [row.request_id for row in store.predictions(since=since, until=until)] == ["r1", "r2"]
    assert [row.request_id for row in store.predictions(limit=2)] == ["r0", "r1"]
    newest = PredictionFilter(is_newest_first=True)
    assert [row.request_id for row in store.predictions(limit=2, where=newest)] == ["r4", "r3"]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("request_id", "r1"),
        ("version", "v2"),
        ("arm", "b"),
        ("key_id", "k"),
        ("is_shadow", True),
        ("is_flagged", False),
        ("is_unsure", True),
    ],
)
def test_predictions_are_found_by_each_thing_that_may_be_wanted(store, prediction, name, value):
    store.add_predictions([prediction(0), prediction(1, **{name: value})])
    found = store.predictions(where=PredictionFilter(**{name: value}))
    assert [row.request_id for row in found] == ["r1"]


def test_predictions_are_found_by_task_and_experiment(store, prediction):
    store.add_predictions([prediction(0), prediction(1, task="jailbreak"), prediction(2, experiment="e")])
    assert [row.request_id for row in store.predictions("jailbreak")] == ["r1"]
    assert [row.request_id for row in store.predictions("refusal", experiment="e")] == ["r2"]


def test_labelled_pairs_predictions_with_what_was_said_of_them(store, prediction, feedback):
    store.add_predictions([prediction(number) for number in range(3)] + [prediction(1, arm="b", is_shadow=True)])
    store.add_feedback(
        [feedback(1), feedback(1, id="again", source="judge"), feedback(1, id="x", task="jailbreak")]
    )
    store.add_feedback([feedback(1, id="y", item=5), feedback(7)])
    found = store.labelled("refusal")
    assert {(one.prediction.arm, one.feedback.id) for one in found} == {
        (arm, id) for arm in (None, "b") for id in ("f1", "again")
    }
    assert all(one.prediction.request_id == one.feedback.request_id == "r1" for one in found)
    shadow = store.labelled(where=PredictionFilter(is_shadow=True))
    assert [one.prediction.arm for one in shadow] == ["b", "b"]


def test_labelled_goes_by_the_time_of_the_feedback(store, prediction, feedback, noon):
    late = noon + timedelta(days=2)
    store.add_predictions([prediction(1), prediction(2)])
    store.add_feedback([feedback(1, at=late), feedback(2)])
    assert [one.prediction.request_id for one in store.labelled(since=late)] == ["r1"]
    assert [one.prediction.request_id for one in store.labelled(limit=1)] == ["r2"]


def test_feedback_may_come_before_the_prediction_it_is_of(store, prediction, feedback):
    assert store.add_feedback([feedback(1)]) == 1
    assert store.labelled() == []
    store.add_predictions([prediction(1)])
    assert len(store.labelled()) == 1


def test_feedback_is_found_by_task_and_request(store, feedback):
    store.add_feedback([feedback(1, note="said"), feedback(2, task="jailbreak")])
    assert store.feedback("refusal") == [feedback(1, note="said")]
    assert store.feedback(request_id="r2") == [feedback(2, task="jailbreak")]
