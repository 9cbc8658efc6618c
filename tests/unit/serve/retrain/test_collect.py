import csv
from collections import Counter

import pytest
from tests.conftest import make_rows, write_rows
from tests.retraining import NOON, prediction

from demur.config import parse_settings
from demur.errors import DataError, LabelError
from demur.serve.retrain import LabelFile
from demur.serve.retrain._collect import (
    Collected,
    collect_files,
    collect_stored,
    judged_field,
    refuse_without_texts,
)
from demur.store import FeedbackRow, LabelledRow
from demur.tasks import PROMPT_RISK, REFUSAL


def labelled(row, label=None, feedback=None, **values):
    said = FeedbackRow(
        **{
            "request_id": row["id"],
            "task": "refusal",
            "label": label or row["refusal"],
            "at": NOON,
            "id": row["id"],
        }
        | (feedback or {})
    )
    return LabelledRow(prediction=prediction(row, **values), feedback=said)


ROWS = make_rows(4)


def test_feedback_becomes_votes_on_texts():
    found = collect_stored(
        [labelled(row, feedback={"key_id": "app", "source": "people"}) for row in ROWS], REFUSAL
    )
    assert [one["id"] for one in found.texts] == ["r0/0", "r1/0", "r2/0", "r3/0"]
    assert [(one.row, one.label, one.key, one.source) for one in found.votes] == [
        (place, row["refusal"], "app", "people") for place, row in enumerate(ROWS)
    ]
    assert found.counts["labelled"] == 4


def test_what_was_answered_goes_with_the_vote():
    found = collect_stored([labelled(ROWS[0], label="soft_refusal", subject="s", sure=0.97)], REFUSAL)
    (vote,) = found.votes
    assert (vote.served, vote.probability, vote.subject) == (ROWS[0]["refusal"], 0.97, "s")


def test_several_votes_on_an_item_share_its_texts():
    both = [labelled(ROWS[0], feedback={"id": id}) for id in ("one", "two")]
    found = collect_stored(both, REFUSAL)
    assert len(found.texts) == 1
    assert [one.row for one in found.votes] == [0, 0]


@pytest.mark.parametrize("is_first", [True, False])
def test_feedback_counts_once_and_with_the_answer_that_was_given(is_first):
    pair = [
        labelled(ROWS[0], sure=0.7, arm="champion"),
        labelled(ROWS[0], sure=0.99, arm="challenger", is_shadow=True),
    ]
    found = collect_stored(pair if is_first else pair[::-1], REFUSAL)
    assert [one.probability for one in found.votes] == [0.7]


def test_answers_without_texts_and_labels_of_another_time_are_counted():
    rows = [labelled(ROWS[0], response=None), labelled(ROWS[1], label="maybe"), labelled(ROWS[2])]
    found = collect_stored(rows, REFUSAL)
    assert found.counts == Counter(labelled=3, without_text=1, unknown_label=1)
    assert len(found.votes) == 1


def test_records_are_repaired_as_models_see_them():
    found = collect_stored([labelled(ROWS[0], response="  I cannot.\x07 ")], REFUSAL)
    assert found.records().texts("response") == ["I cannot."]


def test_without_any_text_it_says_what_to_do():
    with pytest.raises(DataError, match=r"1 labelled answers were kept without their texts.*text: \{log: full\}"):
        refuse_without_texts(collect_stored([labelled(ROWS[0], prompt=None, response=None)], REFUSAL))
    with pytest.raises(DataError, match="no feedback to learn from"):
        refuse_without_texts(Collected())


def files(*values):
    return [parse_settings(LabelFile, one) for one in values]


def collected(*values):
    found = Collected()
    collect_files(found, files(*values), REFUSAL, NOON)
    return found


def test_files_bring_texts_that_were_not_logged(tmp_path):
    path = write_rows(tmp_path / "told.jsonl", make_rows(3))
    found = collected({"path": str(path)})
    assert [one["id"] for one in found.texts] == ["told.jsonl:1", "told.jsonl:2", "told.jsonl:3"]
    assert {(one.source, one.key) for one in found.votes} == {("people", "file told.jsonl")}
    assert found.counts["from_files"] == 3


def test_rows_of_a_file_may_say_who_labelled_them(tmp_path):
    rows = [make_rows(2)[0] | {"labelled_by": "judge"}, make_rows(2)[1] | {"key_id": "k", "subject": "s"}]
    path = write_rows(tmp_path / "told.jsonl", rows)
    found = collected({"path": str(path), "labelled_by": "user"})
    assert [(one.source, one.key, one.subject) for one in found.votes] == [
        ("judge", "file told.jsonl", ""),
        ("user", "k", "s"),
    ]


def test_columns_and_labels_of_a_file_are_mapped(tmp_path):
    path = tmp_path / "told.csv"
    with path.open("w", newline="") as handle:
        writer = csv.writer(handle)
        writer.writerows([["question", "answer", "verdict"], ["what?", "No.", "NO"]])
    found = collected(
        {
            "path": str(path),
            "columns": {"prompt": "question", "response": "answer", "refusal": "verdict"},
            "label_maps": {"refusal": {"NO": "hard_refusal"}},
        }
    )
    assert [one.label for one in found.votes] == ["hard_refusal"]


def test_a_labeller_that_there_is_not_is_refused(tmp_path):
    path = write_rows(tmp_path / "told.jsonl", [make_rows(1)[0] | {"labelled_by": "nobody"}])
    with pytest.raises(LabelError, match="was labelled by 'nobody'; give one of user, judge, people"):
        collected({"path": str(path)})


def test_the_judged_text_is_that_of_the_task():
    assert judged_field(REFUSAL) == "response"
    assert judged_field(PROMPT_RISK) == "prompt"
