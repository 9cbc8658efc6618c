"""Tests of the rows: frozen, with an id that says what they are of."""

from dataclasses import FrozenInstanceError

import pytest

from demur.store import AuditRow, FeedbackRow, PredictionRow, new_id, utc_now


def test_a_prediction_is_known_by_request_item_task_and_arm(prediction):
    assert prediction(1, item=2).id == "r1/2/refusal/"
    assert prediction(1, item=2, arm="b").id == "r1/2/refusal/b"


def test_an_id_that_is_given_is_kept(prediction):
    assert prediction(id="mine").id == "mine"


def test_rows_cannot_be_changed(prediction):
    with pytest.raises(FrozenInstanceError, match="label"):
        prediction().label = "other"


def test_rows_are_made_by_name_only():
    with pytest.raises(TypeError, match="positional"):
        PredictionRow("r1")


def test_new_rows_have_an_id_of_their_own_and_the_time_in_utc():
    first, second = (FeedbackRow(request_id="r", task="t", label="x") for _ in range(2))
    assert first.id != second.id
    assert first.at.utcoffset().total_seconds() == 0
    assert AuditRow(actor="system", act="a", target="t").facts == {}


def test_ids_are_32_hex_digits():
    assert len(new_id()) == 32
    assert int(new_id(), 16) >= 0


def test_now_is_aware_of_being_utc():
    assert utc_now().tzinfo is not None
