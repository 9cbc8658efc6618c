"""Rows of like length share a batch, and padding is where it is said to be."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from demur.llm._batches import pad_left, pad_right, plan_batches


@given(st.lists(st.integers(1, 60), max_size=40), st.integers(1, 100))
def test_every_row_is_in_one_batch_within_the_limit(lengths, tokens):
    batches = plan_batches(lengths, tokens)
    assert sorted(row for batch in batches for row in batch) == list(range(len(lengths)))
    for batch in batches:
        assert len(batch) == 1 or max(lengths[row] for row in batch) * len(batch) <= tokens


@given(st.lists(st.integers(1, 60), min_size=1, max_size=40))
def test_the_longest_rows_come_first(lengths):
    order = [lengths[row] for batch in plan_batches(lengths, 80) for row in batch]
    assert order == sorted(lengths, reverse=True)


def test_rows_are_padded_left_or_right():
    rows = [np.array([1, 2, 3], dtype=np.int32), np.array([4], dtype=np.int32)]
    for pad, ids, mask in (
        (pad_left, [[1, 2, 3], [9, 9, 4]], [[1, 1, 1], [0, 0, 1]]),
        (pad_right, [[1, 2, 3], [4, 9, 9]], [[1, 1, 1], [1, 0, 0]]),
    ):
        found = pad(rows, 9)
        np.testing.assert_array_equal(found[0], ids)
        np.testing.assert_array_equal(found[1], mask)
