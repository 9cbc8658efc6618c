from dataclasses import replace

from demur.serve.monitor import Alerter, step
from demur.serve.monitor._escalate import Escalator
from demur.serve.monitor._views import show_escalation, show_queue, show_reference, show_run, show_task, show_tasks

from .conftest import at, make_traffic


def begin(store, config):
    now = at(500)
    one = Escalator(store, config(), Alerter(store), None)
    one.begin("refusal", "v1", "run1", at(0), now)
    from demur.tasks import REFUSAL

    return one.advance(REFUSAL, "v1", now)


def test_a_task_that_was_looked_at_is_shown(store, champion, config, serve_rows):
    assert show_tasks(store) == []
    serve_rows(300)
    step(store, config(), at(300))
    serve_rows(120, first=300)
    step(store, config(), at(420))
    (found,) = show_tasks(store)
    assert (found.task, found.version, found.windows, found.note) == ("refusal", "v1", 1, None)
    assert found.last_run.tests[0].name == "score_ks"
    assert found.escalation is None
    assert show_task(store, "jailbreak") is None
    assert show_run(store.drift_runs()[0]) == found.last_run
    assert show_reference(store.references()[0]).rows == 300


def test_an_escalation_is_shown_in_numbers(store, champion, config, serve_rows):
    assert show_escalation(store, "refusal") is None
    serve_rows(100)
    begin(store, config)
    found = show_escalation(store, "refusal")
    assert (found.judge, found.rows, found.waiting, found.scored, found.outcome) == ("people", 10, 10, 0, None)


def test_the_queue_shows_no_label_of_the_champion(store, champion, config, serve_rows):
    serve_rows(100)
    found = begin(store, config)
    items = show_queue(store, None, 50)
    assert {item.request_id for item in items} == {row.request_id for row in found.waiting}
    assert items[0].labels == ["hard_refusal", "no_refusal", "soft_refusal"]
    assert items[0].prompt is None
    assert "label" not in set(type(items[0]).model_fields)
    assert len(show_queue(store, "refusal", 3)) == 3
    assert show_queue(store, "jailbreak", 3) == []


def test_the_queue_shows_texts_where_they_are_kept(store, champion, config):
    predictions, _ = make_traffic(50)
    store.add_predictions([replace(row, prompt="p", response=f"r{n}") for n, row in enumerate(predictions)])
    begin(store, config)
    assert show_queue(store, None, 1)[0].response.startswith("r")


def test_rows_that_were_deleted_are_not_in_the_queue(store, champion, config, serve_rows):
    serve_rows(100)
    found = begin(store, config)
    store.delete(found.waiting[0].request_id)
    assert len(show_queue(store, None, 50)) == 9
