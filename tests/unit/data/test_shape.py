"""Tests of turning raw rows into records."""

import pytest

from demur.data import Quarantine, Records, read_records
from demur.data._shape import ReadOptions, RowShaper, join_records, shape_rows
from demur.errors import DataError, EmptyDataError, LabelError, MissingColumnError, UnreadableFileError
from demur.tasks import REFUSAL, Task


def shape(rows, **options):
    return shape_rows(RowShaper("file", ReadOptions(**options)), enumerate(rows, start=1))


def test_a_mapped_column_takes_our_name():
    records = shape([{"question": "a", "label": "no_refusal"}], columns={"prompt": "question", "refusal": "label"})
    assert records.frame["refusal"].to_list() == ["no_refusal"]
    assert "question" not in records.frame.columns


def test_a_column_displaced_by_a_mapping_is_kept_under_another_name():
    records = shape([{"prompt": "old", "question": "new"}], columns={"prompt": "question"})
    assert records.texts("prompt") == ["new"]
    assert records.texts("prompt_orig") == ["old"]


def test_two_columns_can_swap_names():
    records = shape([{"prompt": "r", "response": "p"}], columns={"prompt": "response", "response": "prompt"})
    assert (records.texts("prompt"), records.texts("response")) == (["p"], ["r"])


def test_a_mapped_column_that_is_not_there_is_named_with_what_is():
    with pytest.raises(MissingColumnError, match=r"no column 'questions' .*did you mean 'question'"):
        shape([{"question": "a"}], columns={"prompt": "questions"})


def test_a_column_of_a_layout_may_be_absent():
    assert shape([{"prompt": "a"}], layout={"refusal": "final_label"}).texts("prompt") == ["a"]


def test_nested_labels_become_columns():
    records = shape([{"prompt": "a", "labels": {"refusal": "no_refusal", "jailbreak": None}}])
    assert records.frame["refusal"].to_list() == ["no_refusal"]
    assert records.frame["jailbreak"].to_list() == [None]


def test_a_column_of_its_own_wins_over_a_nested_label():
    records = shape([{"prompt": "a", "refusal": "own", "labels": {"refusal": "nested"}}])
    assert records.frame["refusal"].to_list() == ["own"]


@pytest.mark.parametrize(
    ("value", "mapping", "expected"),
    [
        ("full", {"full": "no_refusal"}, "no_refusal"),
        (" full ", {"full": "no_refusal"}, "no_refusal"),
        (True, {"true": "no_refusal"}, "no_refusal"),
        (True, {"True": "no_refusal"}, "no_refusal"),
        (1, {"1": "no_refusal"}, "no_refusal"),
        (1.0, {"1": "no_refusal"}, "no_refusal"),
        ("unclear", {"unclear": None}, None),
        ("", {}, None),
        ("no_refusal", {"full": "no_refusal"}, "no_refusal"),
    ],
)
def test_labels_of_any_type_are_translated(value, mapping, expected):
    records = shape([{"prompt": "a", "refusal": value}], label_maps={"refusal": mapping}, tasks=[REFUSAL])
    assert records.frame["refusal"].to_list() == [expected]


def test_a_foreign_label_names_row_value_and_nearest_label():
    rows = [{"prompt": "a", "refusal": "no_refusal"}, {"prompt": "b", "refusal": "hard_refusl"}]
    with pytest.raises(LabelError, match=r"row 2: label 'hard_refusl' .*did you mean 'hard_refusal'"):
        shape(rows, tasks=[REFUSAL])


def test_a_foreign_label_goes_to_quarantine_where_there_is_one(tmp_path):
    rows = [{"id": "x", "prompt": "a", "refusal": "maybe"}, {"prompt": "b", "refusal": "no_refusal"}]
    with Quarantine(tmp_path / "q.jsonl") as quarantine:
        records = shape(rows, tasks=[REFUSAL], quarantine=quarantine)
    assert records.texts("prompt") == ["b"]
    assert '"row": 1' in (tmp_path / "q.jsonl").read_text()
    assert '"id": "x"' in (tmp_path / "q.jsonl").read_text()


def test_a_text_in_the_place_of_a_label_is_not_repeated(tmp_path):
    rows = [
        {"prompt": "a", "refusal": "no_refusal"},
        {"prompt": "b", "refusal": "I live at the old mill by the river"},
    ]
    with Quarantine(tmp_path / "q.jsonl") as quarantine:
        shape(rows, tasks=[REFUSAL], quarantine=quarantine)
    assert "(35 characters of text)" in (tmp_path / "q.jsonl").read_text()
    with pytest.raises(LabelError, match=r"^((?!mill).)*$"):
        shape(rows, tasks=[REFUSAL])
    with pytest.raises(LabelError, match=r"^((?!mill).)*$"):
        Records.from_rows(rows).targets(REFUSAL)


def test_labels_of_a_users_own_task_are_checked():
    task = Task(name="tone", labels=("warm", "cold"))
    with pytest.raises(LabelError, match="label 'tepid' is not one of task 'tone'"):
        shape([{"prompt": "a", "tone": "tepid"}], tasks=[task])


@pytest.mark.parametrize(
    "row", [{"prompt": None}, {"prompt": ""}, {"prompt": " \n\t"}, {"prompt": "", "response": " "}]
)
def test_a_row_without_text_is_rejected(row):
    with pytest.raises(DataError, match="row 1: no text"):
        shape([row])


def test_a_response_alone_is_text_enough():
    assert len(shape([{"prompt": None, "response": "yes"}])) == 1


def test_rows_that_all_fail_are_one_error_with_the_first_reason(tmp_path):
    with (
        Quarantine(tmp_path / "q.jsonl") as quarantine,
        pytest.raises(UnreadableFileError, match=r"none of the 2 rows of file can be used \(row 1: no text"),
    ):
        shape([{"prompt": ""}, {"prompt": None}], quarantine=quarantine)


def test_rows_without_an_id_are_called_by_their_number():
    records = shape([{"prompt": "a"}, {"prompt": "b", "id": "own"}, {"prompt": "c", "id": None}])
    assert records.texts("id") == ["row-1", "own", "row-3"]


def test_a_text_that_is_no_string_is_kept_as_json():
    assert shape([{"prompt": 42}, {"prompt": ["a", {"b": 1}]}]).texts("prompt") == ["42", '["a", {"b": 1}]']


def test_lone_surrogates_become_the_replacement_character():
    (text,) = shape([{"prompt": "a\ud800b"}]).texts("prompt")
    assert "\ufffd" in text
    assert text.startswith("a")
    assert text.endswith("b")


def test_joining_casts_columns_of_different_types_without_loss():
    parts = [
        Records.from_rows([{"prompt": "a", "x": 1, "y": 1}]),
        Records.from_rows([{"prompt": "b", "x": "one", "y": 1.5}]),
        Records.from_rows([{"prompt": "c", "x": ["u", "v"], "y": None}]),
    ]
    joined = join_records(parts, "here")
    assert joined.frame["x"].to_list() == ["1", "one", '["u", "v"]']
    assert joined.frame["y"].to_list() == [1.0, 1.5, None]


def test_joining_nothing_is_refused():
    with pytest.raises(EmptyDataError, match="here holds no rows"):
        join_records([], "here")


def test_a_shaper_counts_what_it_took_and_rejected(tmp_path):
    with Quarantine(tmp_path / "q.jsonl") as quarantine:
        shaper = RowShaper("file", ReadOptions(quarantine=quarantine))
        shaper.shape([(1, {"prompt": "a"}), (2, {"prompt": ""})])
    assert (shaper.accepted, shaper.rejected) == (1, 1)


def test_an_empty_batch_has_no_shape():
    assert RowShaper("file", ReadOptions()).shape([]) is None


def test_a_later_batch_may_lack_a_mapped_column():
    shaper = RowShaper("file", ReadOptions(columns={"refusal": "label"}))
    first = shaper.shape([(1, {"prompt": "a", "label": "no_refusal"})])
    second = shaper.shape([(2, {"prompt": "b"})])
    assert first is not None
    assert second is not None
    assert len(second) == 1


@pytest.mark.parametrize("columns", [{"refusal": "verdct"}, {"prompt": "question"}])
def test_a_mapping_to_a_column_that_is_not_there_is_refused_even_where_ours_is(tmp_path, columns):
    path = tmp_path / "rows.csv"
    path.write_text("prompt,response,refusal\na,b,no_refusal\n")
    (theirs,) = columns.values()
    with pytest.raises(MissingColumnError, match=f"has no column '{theirs}'"):
        read_records(path, columns=columns)
