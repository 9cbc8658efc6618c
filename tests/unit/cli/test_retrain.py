import json

import pytest

from demur.serve.retrain import open_retrains
from demur.store import open_store


@pytest.fixture
def store(tmp_path):
    """The store of ``serve.yaml`` in the folder of the command."""
    url = f"sqlite:///{tmp_path / 'demur.db'}"
    tasks = "{refusal: {experiment: e.yaml, golden: g.jsonl}}"
    (tmp_path / "serve.yaml").write_text(f"database: {{url: '{url}'}}\nretrain: {{tasks: {tasks}}}\n")
    with open_store(url) as opened:
        opened.migrate()
        yield opened


def test_a_retraining_is_asked_for(demur, store):
    outcome = demur("retrain", "serve.yaml", "refusal", "--now")
    (row,) = open_retrains(store)
    assert outcome == (0, f"{row.id} is requested; follow it with: demur retrain list serve.yaml\n", "")
    assert (row.facts["cause"], row.facts["is_urgent"]) == ("command", True)


def test_a_second_one_is_refused_with_what_to_do(demur, store):
    demur("retrain", "serve.yaml", "refusal")
    outcome = demur("retrain", "serve.yaml", "refusal")
    assert outcome.code == 1
    assert "wait for it, or stop it with: demur retrain stop" in outcome.err


def test_a_task_that_is_not_configured_is_refused(demur, store):
    outcome = demur("retrain", "serve.yaml", "jailbreak")
    assert outcome.code == 2
    assert "retrains no task 'jailbreak' (it has: refusal)" in outcome.err


def test_they_are_listed_and_stopped(demur, store):
    assert "there are none" in demur("retrain", "list", "serve.yaml").out
    made = json.loads(demur("retrain", "request", "serve.yaml", "refusal", "--json").out)
    assert f"{made['id']}  " in demur("retrain", "list", "serve.yaml").out
    assert "refusal  requested  (command)" in demur("retrain", "list", "serve.yaml").out
    assert demur("retrain", "stop", "serve.yaml", made["id"], "--reason", "no need").out == (
        f"{made['id']} is stopped\n"
    )
    listed = json.loads(demur("retrain", "list", "serve.yaml", "--json", "--task", "refusal").out)
    assert [(one["stage"], one["facts"]["reason"]) for one in listed] == [
        ("stopped", "stopped by command: no need")
    ]
    assert json.loads(demur("retrain", "list", "serve.yaml", "--json", "--task", "jailbreak").out) == []


def test_what_is_not_there_cannot_be_stopped(demur, store):
    outcome = demur("retrain", "stop", "serve.yaml", "x")
    assert outcome.code == 2
    assert "no retraining 'x'" in outcome.err


def test_without_arguments_it_shows_its_verbs(demur):
    out = demur("retrain", "--help").out
    assert all(verb in out for verb in ("request", "list", "stop"))
