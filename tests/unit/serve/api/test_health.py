import pytest
from prometheus_client.parser import text_string_to_metric_families


def test_a_process_that_answers_is_healthy_without_any_key(guard):
    answer = guard.ask("GET", "/healthz", key=None)
    assert (answer.status_code, answer.json()) == (200, {"status": "ok"})


def test_a_warm_guard_is_ready(guard):
    answer = guard.ask("GET", "/readyz", key=None)
    assert (answer.status_code, answer.json()) == (200, {"status": "ready"})


def test_a_guard_is_not_ready_before_its_models_are_warm(guard):
    guard.parts.warm.clear()
    answer = guard.ask("GET", "/readyz", key=None)
    assert (answer.status_code, answer.json()) == (503, {"status": "warming"})
    assert guard.ask("GET", "/healthz", key=None).status_code == 200


def test_a_guard_that_is_to_end_is_not_ready_and_closes_connections(guard):
    guard.parts.is_draining = True
    answer = guard.ask("GET", "/readyz", key=None)
    assert (answer.status_code, answer.json()) == (503, {"status": "draining"})
    assert answer.headers["connection"] == "close"


@pytest.mark.parametrize(("records", "status"), [("durable", 503), ("best_effort", 200)])
def test_a_guard_whose_spool_is_full_is_ready_only_where_records_may_be_lost(make_guard, records, status):
    guard = make_guard(records=records)
    guard.ask("POST", "/v1/classify", json={"input": {"response": "a"}})
    guard.run(guard.parts.recorder.flush())
    guard.parts.spool.max_bytes = 1
    assert guard.ask("GET", "/readyz", key=None).status_code == status


def test_metrics_are_what_prometheus_reads_and_take_a_key(guard):
    guard.ask("POST", "/v1/classify", json={"input": {"response": "a"}})
    answer = guard.ask("GET", "/metrics", key="admin")
    assert answer.headers["content-type"].startswith("text/plain")
    families = {one.name for one in text_string_to_metric_families(answer.text)}
    assert {"demur_requests", "demur_request_seconds", "demur_verdicts", "demur_batch_rows"} <= families
    assert guard.ask("GET", "/metrics", key=None).status_code == 401
    assert guard.ask("GET", "/metrics", key="classify").status_code == 403


def test_metrics_can_be_shown_to_all(make_guard):
    assert make_guard(metrics={"public": True}).ask("GET", "/metrics", key=None).status_code == 200
