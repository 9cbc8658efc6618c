import numpy as np
import polars as pl
import pytest

from demur.analysis import Predicted, align, predictions_of, read_predicted
from demur.analysis._predicted import sort_rows


@pytest.fixture
def frame():
    return pl.DataFrame(
        {
            "id": ["a", "b", "c"],
            "group": ["g", None, "g"],
            "source": ["s", "s", None],
            "y": [0, 1, 1],
            "p_0": [0.9, 0.4, 0.2],
            "p_1": [0.1, 0.6, 0.8],
        }
    )


@pytest.fixture
def save(tmp_path):
    def write(frame):
        frame.write_parquet(tmp_path / "test.parquet")
        return tmp_path / "test.parquet"

    return write


def test_what_was_written_is_read(save, frame):
    found = read_predicted(save(frame))
    assert found.ids == ["a", "b", "c"]
    assert found.column("source") == ["s", "s", None]
    np.testing.assert_array_equal(found.called, [0, 1, 1])


def test_a_column_the_file_lacks_is_all_none(save, frame):
    assert read_predicted(save(frame)).column("answerer") == [None, None, None]


def test_rows_without_a_group_are_groups_of_their_own(save, frame):
    groups = read_predicted(save(frame)).groups
    assert groups[0] == groups[2] != groups[1]


def test_probability_columns_are_ordered_by_number_not_by_name(save):
    values = {f"p_{number}": [1.0 if number == 10 else 0.0] for number in reversed(range(11))}
    assert read_predicted(save(pl.DataFrame({"id": ["a"], "y": [0], **values}))).called[0] == 10


def test_take_keeps_rows_together(save, frame):
    part = read_predicted(save(frame)).take(np.array([2, 0]))
    assert part.ids == ["c", "a"]
    assert part.column("group") == ["g", "g"]
    np.testing.assert_array_equal(part.y, [1, 0])
    np.testing.assert_allclose(part.proba, [[0.2, 0.8], [0.9, 0.1]])


def test_a_null_id_does_not_break_reading(save, frame):
    assert isinstance(read_predicted(save(frame)), Predicted)


@pytest.mark.parametrize("value", [float("nan"), 0.5])
def test_probabilities_that_are_none_are_refused(save, frame, value):
    with pytest.raises(ValueError, match="not finite or do not sum to 1"):
        read_predicted(save(frame.with_columns(pl.lit(value).alias("p_0"))))


def test_a_class_without_a_column_is_refused(save, frame):
    with pytest.raises(ValueError, match="class without a probability column"):
        read_predicted(save(frame.with_columns(pl.lit(2).alias("y"))))


def test_a_missing_column_is_named_in_one_line(save, frame):
    with pytest.raises(ValueError, match=r"^[^\n]*id[^\n]*$"):
        read_predicted(save(frame.drop("id")))


def predicted(ids, called=None):
    called = np.zeros(len(ids), dtype=int) if called is None else np.array(called)
    return Predicted(list(ids), np.zeros(len(ids), dtype=int), np.eye(2)[called], {})


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


def test_rows_are_sorted_by_id_and_repeats_keep_their_order():
    found = sort_rows(predicted("bab", called=[0, 1, 1]))
    assert found.ids == ["a", "b", "b"]
    np.testing.assert_array_equal(found.called, [1, 0, 1])
    assert sort_rows(found) is found


def test_a_loader_reads_each_file_once(tmp_path, frame):
    path = tmp_path / "predictions" / "refusal" / "rules" / "test.parquet"
    path.parent.mkdir(parents=True)
    frame.write_parquet(path)
    load = predictions_of(tmp_path, "refusal")
    assert load("rules", "test") is load("rules", "test")
    assert load("rules", "cv") is None


def test_a_file_that_cannot_be_read_counts_as_none(tmp_path):
    path = tmp_path / "predictions" / "refusal" / "rules" / "test.parquet"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"PAR1 and no end")
    assert predictions_of(tmp_path, "refusal")("rules", "test") is None
