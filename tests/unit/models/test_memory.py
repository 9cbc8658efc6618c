"""A text is worked out once, never while a timing runs, and forgetting changes no answer."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from demur.models import without_memory
from demur.models._memory import TextMemory, is_remembering


class Counter:
    """Works out the length of texts and notes which it was asked for."""

    def __init__(self):
        self.asked = []

    def __call__(self, texts):
        self.asked.append(list(texts))
        return np.array([[len(text)] for text in texts], dtype=np.float64).reshape(-1, 1)


def test_each_distinct_text_is_worked_out_once():
    memory, count = TextMemory(10), Counter()
    assert memory.rows(["a", "bb", "a"], count).tolist() == [[1], [2], [1]]
    assert memory.rows(["bb", "ccc"], count).tolist() == [[2], [3]]
    assert count.asked == [["a", "bb"], ["ccc"]]


def test_no_text_gives_no_row():
    assert TextMemory(10).rows([], Counter()).shape == (0, 1)


def test_nothing_is_read_or_kept_without_memory():
    memory, count = TextMemory(10), Counter()
    memory.rows(["a"], count)
    with without_memory():
        assert memory.rows(["a", "bb"], count).tolist() == [[1], [2]]
    memory.rows(["bb"], count)
    assert count.asked == [["a"], ["a", "bb"], ["bb"]]


def test_others_can_ask_whether_memory_is_on():
    assert is_remembering()
    with without_memory():
        assert not is_remembering()


def test_memory_is_on_again_after_an_error_in_the_block():
    memory, count = TextMemory(10), Counter()
    with pytest.raises(ValueError, match="stop"), without_memory():
        raise ValueError("stop")
    memory.rows(["a"], count)
    memory.rows(["a"], count)
    assert count.asked == [["a"]]


def test_a_full_memory_forgets_the_older_texts():
    memory, count = TextMemory(2), Counter()
    memory.rows(["a", "bb"], count)
    memory.rows(["ccc"], count)
    assert len(memory) == 1
    assert memory.rows(["a", "ccc"], count).tolist() == [[1], [3]]


@given(st.lists(st.lists(st.text(max_size=3), max_size=6), max_size=6), st.integers(1, 4))
def test_rows_never_depend_on_what_is_remembered(calls, most):
    memory = TextMemory(most)
    for texts in calls:
        assert memory.rows(texts, Counter()).ravel().tolist() == [len(text) for text in texts]
