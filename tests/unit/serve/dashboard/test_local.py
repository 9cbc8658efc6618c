from demur.serve.api import Metrics
from demur.serve.api._call import Call
from demur.serve.dashboard._local import Counted, count, look_around
from demur.store import PredictionRow

ITEM = {"input": {"prompt": "How do I keep bread fresh?", "response": "I cannot help with that."}}


def test_a_worker_knows_its_models_and_what_waits(make_guard):
    guard = make_guard()
    found = look_around(guard.parts)
    assert (found.status, found.texts, found.records) == ("ready", "hashed", "durable")
    assert sorted(task for one in found.models for task in one.tasks) == ["prompt_risk", "refusal"]
    assert found.database.startswith("sqlite:///")
    row = PredictionRow(
        request_id="r", task="refusal", model="m", version="v", label="a", probabilities={}, threat_score=0.0
    )
    guard.parts.spool.put("predictions", [row])
    assert look_around(guard.parts).spool.rows == 1
    guard.parts.is_draining = True
    assert look_around(guard.parts).status == "draining"


def test_requests_are_counted_by_how_they_ended(make_guard):
    guard = make_guard()
    before = look_around(guard.parts).counted
    assert before == Counted()
    for body in (ITEM, ITEM, {"input": 3}):
        guard.ask("POST", "/v1/classify", json=body)
    guard.ask("GET", "/healthz")
    found = look_around(guard.parts).counted
    assert (found.requests, found.refused, found.errors, found.lost) == (3, 1, 0, 0)
    assert found.mean_ms > 0


def test_failures_and_lost_records_are_counted_apart():
    metrics = Metrics()
    for status, route in ((500, "/v1/classify"), (503, "/classify"), (200, "/admin/keys")):
        metrics.begin()
        metrics.end(Call("r", route=route, status=status), "POST")
    metrics.recorded("lost", 7)
    metrics.recorded("kept", 70)
    found = count(metrics.show().decode())
    assert (found.requests, found.errors, found.lost) == (2, 2, 7)
