import pytest

from demur.errors import StoreUnavailableError

ITEM = {"prompt": "How do I keep bread fresh?", "response": "Here it is."}


@pytest.fixture
def answered(guard):
    """The id of an answer to two items, the second of which has no prompt."""
    return guard.ask("POST", "/v1/classify", json={"input": [ITEM, {"response": "a"}]}).json()["id"]


def give(guard, id, key="feedback", **changes):
    body = {"id": id, "task": "refusal", "label": "hard_refusal"} | changes
    return guard.ask("POST", "/v1/feedback", key=key, json=body)


@pytest.mark.parametrize("is_drained", [True, False])
def test_feedback_is_recorded_whether_the_answer_is_in_the_database_yet_or_not(
    guard, answered, is_drained, valid_against
):
    if is_drained:
        guard.rows()
    answer = give(guard, answered, item=1)
    valid_against(answer, "/v1/feedback")
    (row,) = guard.feedback()
    assert (row.id, row.request_id, row.item, row.label) == (answer.json()["id"], answered, 1, "hard_refusal")
    assert (row.source, row.key_id) == ("user", guard.keys["feedback"].split("_")[1])
    assert [one.feedback.id for one in guard.parts.store.labelled("refusal")] == [row.id]


@pytest.mark.parametrize("source", ["judge", "people"])
def test_only_an_administrators_key_speaks_for_those_whose_word_outweighs_that_of_users(
    make_guard, guard, answered, error_of, source
):
    assert error_of(give(guard, answered, source=source), 403)["param"] == "source"
    error_of(give(guard, answered, key="admin", source=source), 403)
    assert guard.feedback() == []
    assert give(guard, answered, key="all", source=source).status_code == 200
    assert [row.source for row in guard.feedback()] == [source]
    open_one = make_guard(keys={"required": False})
    id = open_one.ask("POST", "/v1/classify", key=None, json={"input": ITEM}).json()["id"]
    error_of(give(open_one, id, key=None, source=source), 403)
    assert give(open_one, id, key=None).status_code == 200


def test_a_database_that_says_nothing_is_not_waited_for(guard, answered, monkeypatch):
    import threading

    from demur.serve.api import _feedback

    is_over = threading.Event()
    monkeypatch.setattr(_feedback, "_PATIENCE_S", 0.05)
    with monkeypatch.context() as patch:
        patch.setattr(guard.parts.store, "predictions", lambda **where: is_over.wait(60) and [])
        try:
            for _ in range(6):  # more than there are threads for it
                assert give(guard, answered).status_code == 200
        finally:
            is_over.set()
    assert len(guard.feedback()) == 6


def test_feedback_is_taken_while_the_database_is_down(guard, answered, monkeypatch):
    def fail(**where):
        raise StoreUnavailableError("it does not answer")

    with monkeypatch.context() as patch:
        patch.setattr(guard.parts.store, "predictions", fail)
        assert give(guard, answered).status_code == 200
    assert len(guard.feedback()) == 1


def test_an_answer_that_was_never_given_is_not_found(guard, answered, error_of):
    made_up = answered[:-1] + ("0" if answered[-1] != "0" else "1")
    assert error_of(give(guard, made_up), 404)["param"] == "id"
    assert guard.feedback() == []


@pytest.mark.parametrize(
    ("changes", "status", "param"),
    [
        ({"label": "maybe"}, 422, "label"),
        ({"item": 2}, 404, "item"),
        ({"task": "prompt_risk", "item": 1, "label": "benign"}, 404, "item"),
        ({"task": "jailbreak", "label": "attack_failed"}, 404, "item"),
        ({"source": "nobody"}, 422, "source"),
        ({"id": "short"}, 422, "id"),
        ({"item": -1}, 422, "item"),
        ({"item": "1"}, 422, "item"),
        ({"item": True}, 422, "item"),
    ],
)
def test_feedback_that_does_not_fit_the_answer_is_refused(guard, answered, error_of, changes, status, param):
    guard.rows()
    body = {"id": answered, "task": "refusal", "label": "hard_refusal"} | changes
    assert error_of(guard.ask("POST", "/v1/feedback", json=body), status)["param"] == param
    assert guard.feedback() == []


@pytest.mark.parametrize(
    ("changes", "status", "param"),
    [({"label": "maybe"}, 422, "label"), ({"item": 500}, 404, "item"), ({"task": "jailbreak"}, 404, "task")],
)
def test_so_is_what_cannot_fit_where_the_answer_is_not_in_the_database_yet(
    guard, answered, error_of, changes, status, param
):
    assert error_of(give(guard, answered, **changes), status)["param"] == param


@pytest.mark.parametrize(("log", "kept"), [("full", "a note"), ("hashed", None)])
def test_a_note_is_kept_only_where_texts_are(make_guard, log, kept):
    guard = make_guard(text={"log": log})
    id = guard.ask("POST", "/v1/classify", json={"input": ITEM}).json()["id"]
    give(guard, id, note="a note")
    assert [row.note for row in guard.feedback()] == [kept]


def test_without_records_there_is_nothing_to_give_feedback_on(make_guard, error_of):
    guard = make_guard(records="off")
    id = guard.ask("POST", "/v1/classify", json={"input": ITEM}).json()["id"]
    error_of(give(guard, id), 409)


def test_feedback_is_recorded_for_sure_where_answers_need_not_be(make_guard, error_of):
    guard = make_guard(records="best_effort")
    id = guard.ask("POST", "/v1/classify", json={"input": ITEM}).json()["id"]
    guard.run(guard.parts.recorder.flush())
    guard.parts.spool.max_bytes = 1
    error_of(give(guard, id), 503)
