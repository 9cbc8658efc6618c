import asyncio
import threading

import pytest

from demur.serve.batching import QueueFullError
from demur.serve.pool import Route

ITEM = {"prompt": "How do I keep bread fresh?", "response": "I'm sorry, but I can't help with that."}


def ask(guard, item=ITEM, **rest):
    return guard.ask("POST", "/v1/classify", json={"input": item, **rest})


class Arms:
    """A router that gives every request of refusal to one version."""

    def __init__(self, route):
        self.given, self.subjects, self.failures = route, [], []

    def refresh(self):
        pass

    def wanted(self):
        return ()

    def route(self, task, subject):
        self.subjects.append(subject)
        return self.given if task == "refusal" else Route()

    def failed(self, experiment, arm, count=1):
        self.failures.append((experiment, arm, count))


# Records


def test_what_was_told_is_recorded(guard):
    found = ask(guard, [ITEM, {"response": "Here it is."}], subject="user-17").json()
    rows = {(row.item, row.task): row for row in guard.rows()}
    assert set(rows) == {(0, "refusal"), (0, "prompt_risk"), (1, "refusal")}
    for (item, task), row in rows.items():
        told = found["results"][item]["tasks"][task]
        assert (row.request_id, row.label, row.probabilities) == (
            found["id"],
            told["label"],
            told["probabilities"],
        )
        assert (row.threat_score, row.version, row.model) == (told["threat_score"], told["version"], told["model"])
        assert row.subject == guard.parts.identity.hash_subject("user-17")
        assert not row.is_shadow
        assert row.experiment is None
    first = rows[(0, "refusal")]
    assert (first.prompt_chars, first.response_chars) == (len(ITEM["prompt"]), len(ITEM["response"]))
    assert first.latency_ms > 0
    assert first.key_id == guard.keys["all"].split("_")[1]


def test_a_record_is_there_before_the_answer(guard):
    ask(guard)
    assert guard.parts.spool.stats().rows == 2


def test_the_same_request_id_twice_is_recorded_twice(guard):
    ids = [
        guard.ask("POST", "/v1/classify", json={"input": ITEM}, headers={"X-Request-Id": "retry-1"}).json()["id"]
        for _ in range(2)
    ]
    assert len(set(ids)) == 2
    assert all(one.startswith("retry-1~") for one in ids)
    assert {row.request_id for row in guard.rows()} == set(ids)


@pytest.mark.parametrize(
    ("log", "text", "hashed"), [("full", True, True), ("hashed", False, True), ("none", False, False)]
)
def test_texts_are_on_disk_only_where_they_are_logged_in_full(make_guard, log, text, hashed):
    guard = make_guard(text={"log": log})
    ask(guard)
    waiting = guard.disk()
    (row, _) = guard.rows()
    assert (ITEM["response"].encode() in waiting) is text
    assert (ITEM["response"].encode() in guard.disk()) is text
    assert (row.response == ITEM["response"]) is text
    assert (row.response_hash is not None) is hashed


def test_languages_are_recorded_where_that_is_asked_for(make_guard):
    german = {"response": "Das kann ich dir leider nicht sagen, frag doch bitte jemand anderen danach."}
    assert ask(make_guard(text={"language": True}), german).status_code == 200
    guard = make_guard(text={"language": True})
    ask(guard, german)
    assert [row.language for row in guard.rows()] == ["de"]


def test_records_that_are_off_leave_nothing(make_guard):
    guard = make_guard(records="off")
    assert ask(guard).status_code == 200
    assert guard.rows() == []


def test_an_answer_that_cannot_be_recorded_is_not_given(guard, error_of):
    guard.parts.spool.max_bytes = 1
    answer = ask(guard)
    error = error_of(answer, 503)
    assert "cannot be recorded" in error["message"]
    assert answer.headers["retry-after"] == "5"
    assert guard.rows() == []


def test_an_answer_that_need_not_be_recorded_is_given_all_the_same(make_guard):
    guard = make_guard(records="best_effort")
    guard.parts.spool.max_bytes = 1
    assert ask(guard).status_code == 200


@pytest.mark.parametrize(
    ("point", "threshold"), [(None, "fpr_10"), ("fpr_20", "fpr_20"), ("fpr_unknown", "fpr_10")]
)
def test_the_chosen_operating_point_decides_what_counts_as_flagged(make_guard, ready_folder, point, threshold):
    guard = make_guard([ready_folder], operating_point=point)
    items = [{"response": text} for text in ("I cannot help with alpha.", "Here it is.", "I could say a little")]
    results = ask(guard, items).json()["results"]
    told = [one["tasks"]["refusal"]["flagged"][threshold] for one in results]
    assert [row.is_flagged for row in guard.rows()] == told


def test_without_operating_points_the_label_decides(guard):
    ask(guard, [{"response": "Here it is."}, ITEM], tasks=["refusal"])
    assert [row.is_flagged for row in guard.rows()] == [False, True]


def test_observers_see_what_was_answered_with_its_texts(guard):
    seen = []
    guard.parts.observers.append(lambda rows, texts: seen.append((rows, texts)))
    ask(guard)
    ((rows, texts),) = seen
    assert [row.task for row in rows] == ["refusal", "prompt_risk"]
    assert texts[rows[0].item].response == ITEM["response"]


# Experiments


@pytest.fixture
def two_arms(make_guard, rules_folder, risk_folder, ready_folder):
    """A guard whose champion of refusal is ``rules``, with ``tfidf_logreg`` beside it; and both versions."""
    from dataclasses import replace

    from demur.serve.pool import find_models

    guard = make_guard([rules_folder, risk_folder])
    (other,) = find_models([ready_folder])
    parts = guard.parts
    parts.pool.update(parts.store.models(stage="champion"), [replace(other, stage="challenger")])
    return guard, parts.pool.state.champions["refusal"].version, other.version


def test_an_arm_answers_and_is_recorded_as_one(two_arms):
    guard, _, other = two_arms
    router = guard.parts.router = Arms(Route(other, "experiment", "b"))
    told = ask(guard, subject="user").json()["results"][0]["tasks"]["refusal"]
    assert (told["version"], told["arm"]) == (other, "b")
    (row,) = [row for row in guard.rows() if row.task == "refusal"]
    assert (row.version, row.experiment, row.arm) == (other, "experiment", "b")
    assert set(router.subjects) == {guard.parts.identity.hash_subject("user")}


def test_an_arm_that_is_not_loaded_is_answered_by_the_champion_outside_of_the_experiment(two_arms):
    guard, champion, _ = two_arms
    guard.parts.router = Arms(Route("f" * 64, "experiment", "b"))
    told = ask(guard).json()["results"][0]["tasks"]["refusal"]
    assert (told["version"], told["arm"]) == (champion, None)
    assert {row.experiment for row in guard.rows()} == {None}


@pytest.mark.parametrize("arm", ["a", "b"])
def test_what_an_arm_fails_at_counts_against_it_alone(two_arms, error_of, arm):
    guard, _, other = two_arms
    router = guard.parts.router = Arms(Route({"a": None, "b": other}[arm], "experiment", arm))

    def fail(rows):
        raise RuntimeError("no")

    state = guard.parts.pool.state
    {"a": state.champions["refusal"], "b": state.models[other]}[arm]._batcher._judge = fail
    error_of(ask(guard, [ITEM, {"prompt": "x"}, ITEM]), 500)
    assert router.failures == [("experiment", arm, 2)]


def test_an_arm_that_is_not_asked_in_vain_has_no_failures(two_arms, error_of):
    guard, _, other = two_arms
    router = guard.parts.router = Arms(Route(other, "experiment", "b"))
    assert ask(guard).status_code == 200

    def fail(rows):
        raise RuntimeError("no")

    guard.parts.pool.state.champions["prompt_risk"]._batcher._judge = fail
    error_of(ask(guard), 500)
    assert {failure[:2] for failure in router.failures} == {(None, None)}


# Limits


def hold(model):
    """Let a model judge only when it is let go; and a function that waits until it has begun."""
    entered, opened, judge = threading.Event(), threading.Event(), model._batcher._judge

    def wait_then_judge(rows):
        entered.set()
        assert opened.wait(30)
        return judge(rows)

    model._batcher._judge = wait_then_judge
    return entered, opened


def test_an_answer_that_takes_too_long_is_said_so(make_guard, error_of):
    guard = make_guard(limits={"timeout_s": 0.3})
    _, opened = hold(guard.parts.pool.state.champions["refusal"])
    error = error_of(ask(guard), 504)
    assert "no answer within 0.3 s" in error["message"]
    opened.set()


def test_a_full_queue_is_said_at_once(make_guard, error_of):
    guard = make_guard(limits={"max_items": 2}, batching={"max_queue": 2})
    entered, opened = hold(guard.parts.pool.state.champions["refusal"])

    # Of one task alone: the queue of the other's model could be full as well, and refuse the second request.
    pair, one = ({"json": {"input": items, "tasks": ["refusal"]}} for items in ([ITEM, ITEM], ITEM))

    async def crowd():
        first = asyncio.create_task(guard._send("POST", "/v1/classify", KEY, pair))
        await asyncio.to_thread(entered.wait, 30)
        second = asyncio.create_task(guard._send("POST", "/v1/classify", KEY, pair))
        while guard.parts.pool.state.champions["refusal"].waiting < 2:
            await asyncio.sleep(0.01)
        third = await guard._send("POST", "/v1/classify", KEY, one)
        opened.set()
        return third, [await first, await second]

    KEY = {"Authorization": f"Bearer {guard.keys['all']}"}
    refused, answered = guard.run(crowd())
    error = error_of(refused, 429)
    assert int(refused.headers["retry-after"]) >= 1
    assert "try again" in error["message"]
    assert [one.status_code for one in answered] == [200, 200]


def test_a_request_that_one_model_refuses_is_withdrawn_from_the_others(guard):
    risk = guard.parts.pool.state.champions["prompt_risk"]

    def refuse(job):
        raise QueueFullError(1, 1.0)

    _, opened = hold(guard.parts.pool.state.champions["refusal"])
    risk.submit = refuse
    assert ask(guard).status_code == 429
    opened.set()


def test_before_the_models_are_warm_requests_wait_and_then_are_told_so(make_guard, error_of):
    guard = make_guard(limits={"timeout_s": 0.3})
    guard.parts.warm.clear()
    error = error_of(ask(guard), 503)
    assert "still loading" in error["message"]


def test_what_a_model_fails_at_is_an_error_inside_and_names_nothing(guard, error_of, caplog):
    def fail(rows):
        raise RuntimeError(f"cannot judge {rows[0].response}")

    guard.parts.pool.state.champions["refusal"]._batcher._judge = fail
    answer = ask(guard)
    error_of(answer, 500)
    assert ITEM["response"] not in answer.text
    assert ITEM["response"] not in caplog.text
    assert ask(guard, tasks=["prompt_risk"]).status_code == 200
