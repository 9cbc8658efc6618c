"""The monitor in its places: a worker's application that samples and counts, and the controller's step."""

from datetime import UTC, datetime
from types import SimpleNamespace

import pytest
from tests.unit.serve.api.conftest import make_guard  # noqa: F401 -- a fixture

from demur.serve import ServeConfig
from demur.serve.control import Step
from demur.serve.monitor import install, make_step
from demur.serve.monitor._install import CountRequests, SampleAnswers


@pytest.fixture
def guard(make_guard, rules_folder):  # noqa: F811
    made = make_guard([rules_folder], prepare=install)
    (observer,) = made.parts.observers
    made.sampler = observer.sampler
    yield made
    assert made.sampler.close(120)


def classify(guard, *texts, status=200):
    items = [{"prompt": "How?", "response": text} for text in texts]
    answer = guard.ask("POST", "/v1/classify", json={"input": items})
    assert answer.status_code == status, answer.text
    return answer.json()


def test_answers_are_sampled_and_requests_counted(guard):
    found = classify(guard, "I cannot help with that, and I am sorry.", "Here is all that I know about the birds.")
    classify(guard, "x" * 40_000, status=422)
    assert guard.sampler.close(120)
    samples = guard.parts.store.input_samples()
    assert [(row.request_id, row.item) for row in samples] == [(found["id"], 0), (found["id"], 1)]
    (traffic,) = guard.parts.store.traffic()
    assert (traffic.requests, traffic.errors) == (2, 0)


def test_requests_that_the_server_fails_are_errors(guard, monkeypatch):
    async def fail(*_, **__):
        raise RuntimeError("a telltale text")

    monkeypatch.setattr(guard.parts.recorder, "put", fail)
    classify(guard, "Here it is.", status=500)
    assert guard.sampler.close(120)
    (traffic,) = guard.parts.store.traffic()
    assert (traffic.requests, traffic.errors) == (1, 1)


def test_figures_are_still_there(guard):
    classify(guard, "Here it is.")
    shown = guard.ask("GET", "/metrics").text
    assert 'demur_requests_total{method="POST",route="/v1/classify",status="200"} 1.0' in shown


def test_health_and_administration_are_not_counted(guard):
    guard.ask("GET", "/healthz")
    guard.ask("GET", "/admin/models")
    assert guard.sampler.close(120)
    assert guard.parts.store.traffic() == []


@pytest.mark.parametrize("values", [{"monitor": {"enabled": False}}, {"records": "off"}])
def test_where_nothing_is_watched_nothing_is_installed(store, values):
    parts = SimpleNamespace(config=ServeConfig(**values), store=store, observers=[], metrics=None)
    install(parts)
    assert parts.observers == []
    assert parts.metrics is None
    assert make_step(parts.config, store) is None


def test_an_item_is_offered_once_however_many_tasks_judged_it():
    offered = []
    sampler = SimpleNamespace(offer=offered.extend)
    now = datetime.now(UTC)
    rows = [
        SimpleNamespace(request_id="r", item=item, task=task, at=now) for item in (0, 1) for task in ("a", "b")
    ]
    SampleAnswers(sampler)(rows, [SimpleNamespace(prompt="p", response=None)] * 2)
    assert [one.item for one in offered] == [0, 1]


def test_a_request_without_an_answer_is_an_error():
    told = []
    sampler = SimpleNamespace(count=lambda is_error: told.append(is_error))
    metrics = SimpleNamespace(end=lambda call, method: None, begin=lambda: "begun")
    counted = CountRequests(metrics, sampler)
    for status in (0, 200, 429, 503):
        counted.end(SimpleNamespace(route="/v1/classify", status=status), "POST")
    counted.end(SimpleNamespace(route="/healthz", status=503), "GET")
    assert told == [True, False, False, True]
    assert counted.begin() == "begun"


def test_the_controller_is_given_a_step(store):
    made = make_step(ServeConfig(), store)
    assert isinstance(made, Step)
    assert (made.name, made.needs_lease) == ("monitor", True)
    report = made.run(datetime.now(UTC))
    assert report.failed == ()
    made.pause()
    made.close()
