"""The routes in a whole application with real models, keys and database."""

import pytest
from tests.unit.serve.api.conftest import make_guard  # noqa: F401 -- a fixture

from demur.errors import ArtifactError
from demur.serve.experiments import ExperimentRouter, install
from demur.store import ModelRow

BODY = {
    "name": "stricter",
    "task": "refusal",
    "challengers": [{"version": "v2"}],
    "metric": "flag_rate",
    "guards": [],
}


@pytest.fixture
def guard(make_guard, rules_folder):  # noqa: F811
    """A guard with a second model of the task refusal in its registry."""
    made = make_guard([rules_folder])
    row = ModelRow(task="refusal", name="other", version="v2", folder=str(rules_folder), stage="challenger")
    made.parts.store.register_model(row)
    made.versions = [made.parts.store.champion("refusal").version, "v2"]
    return made


def create(guard, **values):
    answer = guard.ask("POST", "/admin/experiments", json=BODY | values)
    assert answer.status_code == 200, answer.text
    return answer.json()["id"]


def act(guard, id, what, **body):
    return guard.ask("POST", f"/admin/experiments/{id}/{what}", json=body)


def test_an_experiment_is_made_listed_and_shown(guard):
    id = create(guard)
    answer = guard.ask("GET", f"/admin/experiments/{id}")
    assert answer.status_code == 200
    shown = answer.json()
    assert (shown["stage"], shown["name"], shown["metric"]) == ("draft", "stricter", "flag_rate")
    assert [arm["name"] for arm in shown["arms"]] == ["champion", "challenger"]
    assert shown["config"]["threat_labels"] == ["hard_refusal", "soft_refusal"]
    assert guard.ask("GET", "/admin/experiments").json()["experiments"] == [shown]
    assert guard.ask("GET", "/admin/experiments", params={"task": "jailbreak"}).json() == {"experiments": []}
    assert "salt" not in answer.text


def test_the_whole_way_by_command_with_the_keys_id_in_the_audit_log(guard):
    id = create(guard)
    for what, body, stage in (
        ("start", {}, "shadow"),
        ("start", {"stage": "running", "reason": "fine so far"}, "running"),
        ("weights", {"weights": {"challenger": 0.1}}, "running"),
    ):
        answer = act(guard, id, what, **body)
        assert (answer.status_code, answer.json()["stage"]) == (200, stage)
    assert [arm["weight"] for arm in answer.json()["arms"]] == [0.5, 0.1]
    guard.parts.pool.check = lambda row: None  # the folder is that of another version
    assert act(guard, id, "promote").json()["stage"] == "promoted"
    assert guard.parts.store.champion("refusal").version == "v2"
    assert act(guard, id, "rollback", reason="complaints").json()["stage"] == "rolled_back"
    assert guard.parts.store.champion("refusal").version == guard.versions[0]
    events = guard.ask("GET", f"/admin/experiments/{id}/events").json()["events"]
    kinds = [event["kind"] for event in events]
    assert kinds == ["draft", "shadow", "running", "weights", "promoted", "rolled_back"]
    assert events[-1]["facts"]["reason"] == "complaints"
    actors = {entry.actor for entry in guard.parts.store.audit_log(target=id)}
    keys = guard.parts.store.keys()
    assert actors == {row.id for row in keys if row.name == "all"}


def test_stop_ends_it(guard):
    id = create(guard)
    assert act(guard, id, "start", stage="running").status_code == 200
    assert act(guard, id, "stop").json()["stage"] == "stopped"


@pytest.mark.parametrize(
    ("what", "body", "status"),
    [
        ("promote", {}, 409),
        ("rollback", {}, 409),
        ("promote", {"arm": "nobody"}, 422),
        ("weights", {"weights": {"nobody": 1}}, 422),
        ("weights", {"weights": {"challenger": 0}}, 422),
        ("weights", {"weights": {}}, 422),
        ("start", {"stage": "promoted"}, 422),
        ("stop", {"why": "x"}, 422),
    ],
)
def test_what_cannot_be_done_is_refused_and_changes_nothing(guard, what, body, status):
    id = create(guard)
    guard.parts.pool.check = lambda row: None
    answer = act(guard, id, what, **body)
    assert answer.status_code == status, answer.text
    assert set(answer.json()) == {"error"}
    assert guard.parts.store.experiment(id).stage == "draft"


@pytest.mark.parametrize(
    "values",
    [
        {"task": "Refusal!"},
        {"challengers": []},
        {"metric": "luck"},
        {"guards": [{"metric": "flag_rate"}]},
        {"x": 1},
    ],
)
def test_a_body_that_does_not_fit_is_refused(guard, values):
    answer = guard.ask("POST", "/admin/experiments", json=BODY | values)
    assert answer.status_code == 422
    assert guard.parts.store.experiments() == []


def test_an_experiment_that_there_is_not_is_not_found(guard):
    for method, path in (("GET", ""), ("GET", "/events"), ("POST", "/stop"), ("POST", "/promote")):
        body = {"json": {}} if method == "POST" else {}
        assert guard.ask(method, f"/admin/experiments/{'0' * 32}{path}", **body).status_code == 404
    assert guard.ask("GET", "/admin/experiments/x").status_code == 422


def test_a_challenger_that_cannot_be_loaded_is_not_promoted(guard):
    id = create(guard)
    act(guard, id, "start", stage="running")

    def fail(row):
        raise ArtifactError("the folder is gone")

    guard.parts.pool.check = fail
    answer = act(guard, id, "promote")
    assert answer.status_code == 409
    assert "so the champion stays: the folder is gone" in answer.json()["error"]["message"]
    assert guard.parts.store.experiment(id).stage == "running"


@pytest.mark.parametrize("key", [None, "classify", "feedback"])
def test_only_an_admins_key_opens_them(guard, key):
    paths = [("GET", ""), ("POST", ""), ("GET", "/x"), ("POST", "/x/start"), ("POST", "/x/promote")]
    for method, path in paths:
        answer = guard.ask(method, f"/admin/experiments{path}", key=key)
        assert answer.status_code == (401 if key is None else 403)


def test_an_answer_says_its_arm_and_so_does_the_record(guard):
    """Through the real application: both arms are the same file under two versions, and one is loaded as both."""
    install(guard.parts)
    assert isinstance(guard.parts.router, ExperimentRouter)
    id = create(guard)
    act(guard, id, "start", stage="running")
    guard.parts.router.refresh()
    arms = set()
    for number in range(12):
        body = {"input": {"prompt": "How?", "response": "I cannot."}, "subject": f"s{number}"}
        answer = guard.ask("POST", "/v1/classify", json=body)
        arms.add(answer.json()["results"][0]["tasks"]["refusal"].get("arm"))
    # v2 is in the registry and not in memory: its subjects are answered by the champion, outside the experiment
    assert arms == {"champion", None}
    rows = guard.rows()
    assert {(row.experiment, row.arm) for row in rows} == {(id, "champion"), (None, None)}
