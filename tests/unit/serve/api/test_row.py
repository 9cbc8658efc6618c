from demur.serve.api._ask import Question
from demur.serve.api._call import new_call
from demur.serve.api._row import tell, to_row
from demur.serve.pool import Route, Texts, Verdict
from demur.tasks import REFUSAL


def verdict(label="no_refusal", flagged=None):
    probabilities = dict.fromkeys(REFUSAL.labels, 0.1) | {label: 0.8}
    return Verdict(label, probabilities, 0.2, flagged or {}, None)


def told_by(guard, found):
    return tell(guard.parts, REFUSAL, guard.parts.pool.state.champions["refusal"], Route(), found)


def test_the_label_decides_where_there_is_no_operating_point(guard):
    assert not told_by(guard, verdict()).is_flagged
    assert told_by(guard, verdict("soft_refusal")).is_flagged


def test_the_first_operating_point_decides_before_the_label(guard):
    assert told_by(guard, verdict(flagged={"fpr_1": True, "fpr_10": False})).is_flagged
    assert not told_by(guard, verdict("soft_refusal", flagged={"fpr_1": False})).is_flagged


def test_a_row_says_of_a_plain_text_what_was_judged(guard):
    call = new_call(None)
    call.answer_id = "some-id"
    row = to_row(guard.parts, call, 0, told_by(guard, verdict()), Question([Texts.plain("abc")]))
    assert (row.prompt_chars, row.response_chars, row.prompt_hash) == (0, 3, None)
    assert row.id == "some-id/0/refusal/"
    assert row.threshold is None
    assert row.at.tzinfo is not None
