import json
from dataclasses import replace

import pytest

from demur.errors import ArtifactError, StoreUnavailableError, TaskError
from demur.serve.monitor import Monitor, step
from demur.serve.monitor._step import task_of
from demur.store import open_store
from demur.tasks import REFUSAL

from .conftest import at


class Contrary:
    name = "contrary"

    def judge(self, task, rows):
        return ["soft_refusal"] * len(rows)


def test_from_drift_to_a_request_for_retraining(store, champion, config, serve_rows):
    """The whole way, one step at a time, each by a monitor that knows nothing but the store."""
    settings = config(escalation={"judge": {"batch": 50}, "bound": 0.2})
    serve_rows(300, prompt="p", response="r0")
    step(store, settings, at(300), Contrary())
    # distinct texts, since equal ones would be judged once
    for number in range(120):
        serve_rows(1, first=300 + number, seed=number, is_changed=True, prompt="p", response=f"r{number}")
    report = step(store, settings, at(420), Contrary())
    assert len(report.runs) == 1
    second = 421
    while report.escalations[0].outcome is None:
        report = step(store, settings, at(second), Contrary())
        second += 1
        assert second < 460
    assert report.escalations[0].outcome == "retrain"
    (request,) = store.retrains("refusal")
    assert request.facts["drift_run"] == store.drift_runs("refusal")[0].id


def test_a_task_that_fails_does_not_keep_the_others(store, champion, config, serve_rows):
    store.register_model(replace(champion, task="mystery", version="v9"))
    serve_rows(300)
    report = step(store, config(), at(300))
    assert [task for task, _ in report.failed] == ["mystery"]
    assert store.references("refusal")


def test_a_judge_that_cannot_work_is_named(store, champion, config, serve_rows, tmp_path):
    judge = {"kind": "classifier", "model": str(tmp_path / "nothing")}
    monitor = Monitor(store, config(escalation={"judge": judge}))
    serve_rows(100, prompt="p", response="r")
    monitor._escalator.begin("refusal", "v1", "run", at(0), at(100))
    report = monitor.step(at(101))
    assert "not a saved demur model" in report.failed[0][1]


def test_a_database_that_is_down_is_said(tmp_path, config):
    away = open_store(f"sqlite:///{tmp_path / 'no' / 'folder' / 'x.db'}")
    with pytest.raises(StoreUnavailableError, match="cannot be opened"):
        step(away, config(), at(0))


def test_the_task_of_a_champion_is_that_of_its_folder(champion, tmp_path):
    assert task_of(champion) == REFUSAL
    folder = tmp_path / "model"
    folder.mkdir()
    own = REFUSAL.model_copy(update={"labels": REFUSAL.labels[::-1]})
    (folder / "demur.json").write_text(json.dumps({"task": own.model_dump(mode="json")}))
    assert task_of(replace(champion, folder=str(folder))).labels == own.labels


def test_a_folder_that_says_nothing_is_refused(champion, tmp_path):
    (tmp_path / "demur.json").write_text("{}")
    with pytest.raises(ArtifactError, match="says of no task"):
        task_of(replace(champion, folder=str(tmp_path)))
    with pytest.raises(TaskError, match="no task is called"):
        task_of(replace(champion, task="mystery", folder="nowhere"))
