"""Tests of the records table."""

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from demur.data import Records
from demur.errors import DataError, EmptyDataError, LabelError, MissingColumnError
from demur.tasks import REFUSAL

ROWS = [
    {"prompt": "a", "response": "yes", "refusal": "no_refusal", "group": "g1"},
    {"prompt": "b", "response": "no", "refusal": "hard_refusal", "group": None},
    {"prompt": "c", "response": None, "refusal": None, "group": "g1"},
]


def test_missing_canonical_columns_are_added_as_null():
    records = Records.from_rows([{"prompt": "hello"}])
    assert records.frame.columns == ["id", "prompt", "response", "model", "source", "group"]
    assert records.frame.row(0) == ("row-1", "hello", None, None, None, None)


def test_other_columns_are_kept_after_the_canonical_ones():
    records = Records.from_rows([{"weight": 2, "prompt": "hello"}])
    assert records.frame.columns[-1] == "weight"


def test_numeric_ids_become_text():
    assert Records.from_rows([{"id": 7, "prompt": "a"}]).texts("id") == ["7"]


def test_a_frame_without_any_text_column_is_refused_with_its_columns():
    with pytest.raises(MissingColumnError, match=r"no column 'prompt' \(it has: question\)"):
        Records(pl.DataFrame({"question": ["a"]}))


def test_no_rows_are_refused():
    with pytest.raises(EmptyDataError, match="no records were given"):
        Records.from_rows([])


def test_values_of_types_that_do_not_go_together_become_text_and_none_is_lost():
    records = Records.from_rows([{"prompt": "a", "x": 1}, {"prompt": "b", "x": {"y": 2}}])
    assert records.frame["x"].to_list() == ["1", '{"y": 2}']


def test_a_row_that_is_no_mapping_is_refused_by_number():
    with pytest.raises(DataError, match="row 2 is a str; give mappings"):
        Records.from_rows([{"prompt": "a"}, "b"])  # type: ignore[list-item]


def test_a_lone_surrogate_does_not_stop_the_table():
    assert Records.from_rows([{"prompt": "a\ud800"}]).texts("prompt")[0].startswith("a")


def test_records_of_texts_alone_are_those_of_rows_with_numbers_for_ids():
    prompts, responses = ["a", None, ""], [None, "b\n", "ü"]
    rows = [{"id": str(n), "prompt": prompts[n], "response": responses[n]} for n in range(3)]
    assert Records.from_texts(prompts, responses).frame.equals(Records.from_rows(rows).frame)
    assert Records.from_texts(prompts, responses).frame.schema == Records.from_rows(rows).frame.schema
    assert Records.from_texts([], []).frame.schema == Records.from_rows(rows).frame.schema


def test_a_frame_that_is_whole_is_taken_as_it_is():
    frame = Records.from_rows([{"prompt": "a", "weight": 2}]).frame
    assert Records(frame).frame is frame
    assert Records(frame.with_columns(model=1)).frame.schema == frame.schema  # of another type: cast


def test_targets_follow_the_order_of_the_tasks_labels():
    records = Records.from_rows(ROWS[:2])
    np.testing.assert_array_equal(records.targets(REFUSAL), [0, 1])


def test_targets_name_the_row_and_the_value_of_a_foreign_label():
    records = Records.from_rows([ROWS[0], {**ROWS[1], "refusal": "maybe"}])
    with pytest.raises(LabelError, match=r"label 'maybe' \(row 2\)"):
        records.targets(REFUSAL)


def test_labelled_keeps_only_rows_with_a_label():
    assert len(Records.from_rows(ROWS).labelled(REFUSAL)) == 2


def test_labelled_refuses_records_of_another_task():
    with pytest.raises(MissingColumnError, match="no column 'refusal'"):
        Records.from_rows([{"prompt": "a"}]).labelled(REFUSAL)


def test_labelled_refuses_records_without_a_label():
    with pytest.raises(EmptyDataError, match="no record has a label for task 'refusal'"):
        Records.from_rows([{"prompt": "a", "refusal": None}]).labelled(REFUSAL)


def test_rows_without_a_group_are_groups_of_their_own():
    groups = Records.from_rows(ROWS).groups()
    assert groups[0] == groups[2] != groups[1]


def test_concat_fills_columns_that_a_part_lacks():
    joined = Records.concat([Records.from_rows([{"prompt": "a", "x": 1}]), Records.from_rows([{"prompt": "b"}])])
    assert joined.frame["x"].to_list() == [1, None]


def test_take_gives_rows_in_the_order_asked_for():
    assert Records.from_rows(ROWS).take([2, 0]).texts("prompt") == ["c", "a"]


def test_content_hash_changes_with_a_cell_and_not_with_the_order_of_columns():
    records = Records.from_rows(ROWS)
    same = Records.from_rows([dict(reversed(row.items())) for row in ROWS])
    assert records.content_hash() == same.content_hash()
    assert records.content_hash() != records.with_column("prompt", ["a", "b", "d"]).content_hash()


@given(st.lists(st.one_of(st.none(), st.text(st.characters(exclude_categories=["Cs"]))), min_size=1, max_size=20))
def test_texts_and_column_agree_but_for_null(values):
    records = Records(pl.DataFrame({"prompt": pl.Series(values, dtype=pl.String)}))
    assert records.texts("prompt") == [value or "" for value in values]
    assert records.column("prompt").tolist() == values
