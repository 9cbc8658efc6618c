"""The routes in a whole application with a real store and keys."""

import pytest
from tests.retraining import NOON, TASK
from tests.unit.serve.api.conftest import make_guard  # noqa: F401 -- a fixture

from demur.errors import UsageError
from demur.serve.retrain import check_task, open_retrains, view_retrain
from demur.store import RetrainRow


@pytest.fixture
def guard(make_guard, rules_folder):  # noqa: F811
    """A guard that retrains the task refusal."""
    tasks = {TASK: {"experiment": "e.yaml", "golden": "g.jsonl"}}
    return make_guard([rules_folder], retrain={"tasks": tasks})


def request(guard, **body):
    return guard.ask("POST", "/admin/retrain", json={"task": TASK} | body)


def test_a_retraining_is_asked_for_shown_and_stopped(guard):
    answer = request(guard, now=True)
    assert answer.status_code == 200, answer.text
    made = answer.json()
    assert (made["stage"], made["facts"]["cause"], made["facts"]["is_urgent"]) == ("requested", "command", True)
    assert guard.ask("GET", f"/admin/retrain/{made['id']}").json() == made
    (listed,) = guard.ask("GET", "/admin/retrain").json()["retrains"]
    assert (listed["id"], listed["facts"]) == (made["id"], {"cause": "command"})
    stopped = guard.ask("POST", f"/admin/retrain/{made['id']}/stop", json={"reason": "no need"})
    assert stopped.json()["stage"] == "stopped"
    assert open_retrains(guard.parts.store) == []
    keys, log = guard.parts.store.keys(), guard.parts.store.audit_log(target=made["id"])
    assert {line.actor for line in log} == {row.id for row in keys if row.name == "all"}


def test_a_second_one_is_a_conflict(guard):
    request(guard)
    answer = request(guard)
    assert answer.status_code == 409
    assert "wait for it, or stop it" in answer.json()["error"]["message"]


def test_what_has_ended_cannot_be_stopped(guard):
    made = request(guard).json()
    path = f"/admin/retrain/{made['id']}/stop"
    guard.ask("POST", path, json={})
    assert guard.ask("POST", path, json={}).status_code == 409


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("POST", "/admin/retrain", {"task": "jailbreak"}, 422),
        ("POST", "/admin/retrain", {"task": "../x"}, 422),
        ("POST", "/admin/retrain", {"task": TASK, "more": 1}, 422),
        ("GET", "/admin/retrain/nothing", None, 404),
        ("POST", "/admin/retrain/nothing/stop", {}, 404),
        ("GET", "/admin/retrain/a%20b", None, 422),
        ("GET", "/admin/retrain?limit=0", None, 422),
    ],
)
def test_what_makes_no_sense_is_refused(guard, method, path, body, status):
    given = {} if body is None else {"json": body}
    assert guard.ask(method, path, **given).status_code == status


@pytest.mark.parametrize("key", [None, "classify", "feedback"])
@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/admin/retrain"),
        ("POST", "/admin/retrain"),
        ("GET", "/admin/retrain/x"),
        ("POST", "/admin/retrain/x/stop"),
    ],
)
def test_only_administrators_may(guard, key, method, path):
    given = {"json": {"task": TASK}} if method == "POST" else {}
    assert guard.ask(method, path, key=key, **given).status_code == (401 if key is None else 403)


def test_a_view_in_brief_leaves_out_what_is_long():
    facts = {"cause": "drift", "reason": "r", "comparing": {"gate": {}}, "history": []}
    row = RetrainRow(id="x", task=TASK, stage="rejected", facts=facts, at=NOON, ended_at=NOON)
    assert view_retrain(row).facts == facts
    assert view_retrain(row, is_brief=True).facts == {"cause": "drift", "reason": "r"}


def test_a_task_that_is_not_configured_is_named_with_the_nearest():
    check_task(TASK, [TASK])
    with pytest.raises(UsageError, match=r"no task 'refusl' \(it has: refusal\).*did you mean 'refusal'"):
        check_task("refusl", [TASK])
