import json

import pytest

from demur.errors import StoreUnavailableError
from demur.serve import load_serve
from demur.serve._place import Place
from demur.serve._worker import Worker, say
from demur.serve.pool import find_models, register_models


@pytest.fixture
def worker(tmp_path, rules_folder):
    config = load_serve(
        None,
        {
            "database": {"url": f"sqlite:///{tmp_path / 'guard.db'}"},
            "spool": {"folder": str(tmp_path / "spool")},
            "threads": 1,
        },
    )
    champions = tuple(find_models([rules_folder]))
    made = Worker(Place("worker", 0, config, tmp_path, champions, ("a secret of the tests",)))
    made._parts.store.migrate()
    yield made
    made._parts.pool.close()
    made._parts.buckets.close()


def served(worker):
    return {task: model.name for task, model in worker._parts.pool.state.champions.items()}


def down(*given, **named):
    raise StoreUnavailableError("it does not answer")


def test_the_champions_of_the_registry_are_loaded(worker, rules_folder):
    register_models(worker._parts.store, find_models([rules_folder]))
    worker.refresh()
    assert served(worker) == {"refusal": "rules"}


def test_a_promoted_model_is_seen(worker, rules_folder, ready_folder):
    register_models(worker._parts.store, find_models([rules_folder]))
    worker.refresh()
    register_models(worker._parts.store, find_models([ready_folder]))
    worker.refresh()
    assert served(worker) == {"refusal": "tfidf_logreg"}


def test_tasks_of_other_servers_are_not_loaded(worker, rules_folder, risk_folder):
    register_models(worker._parts.store, find_models([rules_folder, risk_folder]))
    worker.refresh()
    assert served(worker) == {"refusal": "rules"}


def test_what_a_router_wants_is_loaded_beside_the_champions(worker, rules_folder, ready_folder):
    (other,) = find_models([ready_folder])
    register_models(worker._parts.store, find_models([rules_folder]))
    from dataclasses import replace

    worker._parts.store.register_model(replace(other, stage="challenger"))

    class Wants:
        def refresh(self):
            pass

        def wanted(self):
            return [("refusal", other.version), ("refusal", "f" * 64)]

    worker._parts.router = Wants()
    worker.refresh()
    assert other.version in worker._parts.pool.state.models
    assert served(worker) == {"refusal": "rules"}


def test_without_the_database_the_models_that_were_given_are_served(worker, monkeypatch):
    monkeypatch.setattr(worker._parts.store, "models", down)
    worker.refresh()
    assert served(worker) == {"refusal": "rules"}


def test_without_the_database_a_later_worker_serves_what_was_served_last(worker, monkeypatch, ready_folder):
    register_models(worker._parts.store, find_models([ready_folder]))
    worker.refresh()
    later = Worker(worker._place)
    monkeypatch.setattr(later._parts.store, "models", down)
    later.refresh()
    assert served(later) == {"refusal": "tfidf_logreg"}
    later._parts.pool.close()
    later._parts.buckets.close()


def test_a_worker_tells_the_supervisor_a_line_an_event(capsys):
    say("failed", message="it is damaged", code=1)
    assert json.loads(capsys.readouterr().out) == {"event": "failed", "message": "it is damaged", "code": 1}
