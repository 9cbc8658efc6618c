"""``/admin/drift`` in a whole application, asked over ASGI; its store is real."""

from datetime import UTC, datetime, timedelta

import pytest
from tests.unit.serve.api.conftest import make_guard  # noqa: F401 -- a fixture

from demur.serve.monitor import Monitor
from demur.store import PredictionRow


@pytest.fixture
def guard(make_guard, rules_folder):  # noqa: F811
    """A guard that has answered 150 rows, a second ago and earlier, without texts."""
    made = make_guard(
        [rules_folder],
        monitor={"window": {"rows": 100, "every": 50, "min_rows": 50, "settle_s": 0, "min_gap_s": 0}},
    )
    store = made.parts.store
    made.version, now = store.champion("refusal").version, datetime.now(UTC)
    store.add_predictions(
        [
            PredictionRow(
                request_id=f"r{n}",
                task="refusal",
                model="rules",
                version=made.version,
                label="no_refusal",
                probabilities={"no_refusal": 0.8, "hard_refusal": 0.1, "soft_refusal": 0.1},
                threat_score=0.2,
                at=now - timedelta(seconds=151 - n),
            )
            for n in range(150)
        ]
    )
    return made


def post(guard, path, **body):
    return guard.ask("POST", f"/admin/drift{path}", json=body)


def test_nothing_is_there_before_the_monitor_has_looked(guard):
    for path, name in (("", "tasks"), ("/runs", "runs"), ("/references", "references"), ("/queue", "items")):
        assert guard.ask("GET", f"/admin/drift{path}").json() == {name: []}


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", ""),
        ("GET", "/runs"),
        ("GET", "/references"),
        ("GET", "/queue"),
        ("POST", "/references"),
        ("POST", "/escalations"),
        ("POST", "/escalations/stop"),
    ],
)
def test_every_path_takes_a_key_of_scope_admin(guard, method, path):
    assert guard.ask(method, f"/admin/drift{path}", key=None, json={"task": "refusal"}).status_code == 401
    assert guard.ask(method, f"/admin/drift{path}", key="classify", json={"task": "refusal"}).status_code == 403


def test_the_newest_rows_are_made_the_reference(guard):
    answer = post(guard, "/references", task="refusal", rows=100)
    assert answer.status_code == 200, answer.text
    assert (answer.json()["source"], answer.json()["rows"]) == ("admin", 100)
    (listed,) = guard.ask("GET", "/admin/drift/references?task=refusal").json()["references"]
    assert listed["id"] == answer.json()["id"]
    (act,) = guard.parts.store.audit_log(act="drift.reference")
    assert act.actor != "unknown"


def test_a_window_that_was_looked_at_is_shown(guard):
    post(guard, "/references", task="refusal", rows=100)
    store, now = guard.parts.store, datetime.now(UTC)
    rows = store.predictions()
    store.add_predictions(
        [
            PredictionRow(**{**as_dict(row), "id": "", "request_id": f"later-{row.request_id}", "at": now})
            for row in rows
        ]
    )
    Monitor(store, guard.parts.config.monitor).step(now + timedelta(seconds=5))
    (run,) = guard.ask("GET", "/admin/drift/runs?limit=5").json()["runs"]
    assert run["window"]["rows"] == 100
    assert run["tests"][0]["name"] == "score_ks"
    (task,) = guard.ask("GET", "/admin/drift").json()["tasks"]
    assert (task["task"], task["windows"]) == ("refusal", 1)


def as_dict(row):
    return {name: getattr(row, name) for name in row.__dataclass_fields__}


def test_an_escalation_is_begun_fed_by_feedback_and_stopped(guard):
    assert post(guard, "/escalations", task="refusal").json()["outcome"] is None
    assert post(guard, "/escalations", task="refusal").status_code == 409
    monitor = Monitor(guard.parts.store, guard.parts.config.monitor)
    monitor.step(datetime.now(UTC))
    items = guard.ask("GET", "/admin/drift/queue?limit=3").json()["items"]
    assert len(items) == 3
    assert items[0]["labels"] == ["hard_refusal", "no_refusal", "soft_refusal"]
    stopped = post(guard, "/escalations/stop", task="refusal")
    assert stopped.json()["outcome"] == "stopped"
    assert post(guard, "/escalations/stop", task="refusal").status_code == 404


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("/references", {"task": "jailbreak"}, 422),
        ("/references", {"task": "refusal", "rows": 5}, 422),
        ("/references", {"task": "refusal", "rws": 500}, 422),
        ("/escalations", {"task": "jailbreak"}, 404),
        ("/escalations", {}, 422),
        ("/escalations/stop", {"task": "x" * 65}, 422),
    ],
)
def test_what_cannot_be_done_is_said(guard, path, body, status):
    answer = post(guard, path, **body)
    assert answer.status_code == status, answer.text
    assert answer.json()["error"]["message"]


@pytest.mark.parametrize("path", ["/runs?limit=0", "/runs?limit=1000", "/queue?limit=x"])
def test_limits_are_held(guard, path):
    assert guard.ask("GET", f"/admin/drift{path}").status_code == 422
