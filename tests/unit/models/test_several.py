"""Tables with the classes of several tasks side by side."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from scipy.special import softmax as scipy_softmax

from demur.models._several import SeveralTasks, count_classes, leads, likeliest, softmax, split_tasks
from demur.models.dual import DualClassifier
from demur.models.transformer import TransformerClassifier
from demur.tasks import JAILBREAK, REFUSAL

SIZES = (3, 2, 4)
FLOATS = st.floats(-50, 50, width=32)
tables = arrays.arrays(np.float32, st.tuples(st.integers(0, 5), st.just(sum(SIZES))), elements=FLOATS)


def test_classes_are_counted_a_task() -> None:
    assert count_classes((REFUSAL, JAILBREAK)) == (3, 2)


def test_columns_are_split_in_the_order_of_the_tasks() -> None:
    parts = split_tasks(np.arange(9)[None], SIZES)
    assert [part.tolist() for part in parts] == [[[0, 1, 2]], [[3, 4]], [[5, 6, 7, 8]]]


def test_without_sizes_all_columns_are_of_one_task() -> None:
    (part,) = split_tasks(np.arange(4)[None])
    assert part.tolist() == [[0, 1, 2, 3]]


@given(tables)
def test_each_task_has_the_softmax_of_its_own_logits(logits: np.ndarray) -> None:
    parts = split_tasks(softmax(logits, SIZES), SIZES)
    for part, given_logits in zip(parts, split_tasks(logits.astype(float), SIZES), strict=True):
        np.testing.assert_allclose(part, scipy_softmax(given_logits, axis=1), atol=1e-12)


def test_the_closest_call_of_any_task_counts() -> None:
    table = np.array([[0.9, 0.05, 0.05, 0.6, 0.4], [0.4, 0.3, 0.3, 0.9, 0.1]])
    np.testing.assert_allclose(leads(table, (3, 2)), [0.2, 0.1])
    np.testing.assert_allclose(leads(table[:, :3]), [0.85, 0.1])


def test_the_likeliest_class_is_found_a_task() -> None:
    table = np.array([[0.1, 0.8, 0.1, 0.6, 0.4]])
    assert likeliest(table, (3, 2)).tolist() == [[1, 0]]
    assert likeliest(table).tolist() == [[1]]


@pytest.mark.parametrize(("family", "is_one"), [(DualClassifier, True), (TransformerClassifier, False)])
def test_a_classifier_of_several_tasks_is_known_by_what_it_offers(family: type, is_one: bool) -> None:
    assert isinstance(family(REFUSAL), SeveralTasks) is is_one
