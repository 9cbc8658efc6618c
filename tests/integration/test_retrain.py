"""Retraining with a real controller, real processes and real training: killed everywhere, poisoned, stopped."""

import fcntl
import os
import signal
from datetime import timedelta

import pytest
import yaml
from tests.conftest import make_rows
from tests.integration.guards import RunningGuard
from tests.retraining import TASK, World, answer, wait_until

from demur.serve.experiments import Move, move_experiment
from demur.serve.retrain import open_retrains, stop_retrain
from demur.store import PredictionFilter, open_store, utc_now

pytestmark = pytest.mark.slow
HOUR = timedelta(hours=1)


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """Files, and a champion that was trained on them."""
    return World(tmp_path_factory.mktemp("world"))


@pytest.fixture
def url(request, tmp_path):
    """The address of the database: a SQLite file, or PostgreSQL where a test asks for it."""
    if getattr(request, "param", "sqlite") == "sqlite":
        return f"sqlite:///{tmp_path / 'demur.db'}"
    return request.getfixturevalue("postgres")


@pytest.fixture
def store(url, world):
    """A store with a champion."""
    with open_store(url) as opened:
        opened.migrate()
        opened.register_model(world.row())
        yield opened


@pytest.fixture
def configure(world, url, tmp_path):
    """Writes ``serve.yaml``."""

    def write(**changes):
        values = {
            "database": {"url": url},
            "spool": {"folder": str(tmp_path / "spool")},
            "monitor": {"enabled": False},
            "control": {"lease_s": 4.0},
            "experiments": {"every_s": 0.5, "lag_s": 0, "settle_s": 0},
            "retrain": world.config(tmp_path / "retrain", **changes),
        }
        (tmp_path / "serve.yaml").write_text(yaml.safe_dump(values))

    return write


@pytest.fixture
def row(demur, store, configure):
    """A retraining that was asked for by command, on feedback of the last hour."""
    configure()
    answer(store, make_rows(50, first=1000), at=utc_now() - HOUR)
    done = demur("retrain", "serve.yaml", TASK)
    assert done.returncode == 0, done.stderr
    (found,) = open_retrains(store)
    return found


def reach(store, row, *stages):
    """Wait until a retraining is in one of the stages."""
    return wait_until(lambda: (found := store.retrain(row.id)) and found.stage in stages and found, 600)


def is_working(tmp_path, row):
    """Whether a process works on it now."""
    path = tmp_path / "retrain" / "runs" / row.id / ".lock"
    if not path.exists():
        return False
    with path.open() as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def kill(process):
    os.kill(process.pid, signal.SIGKILL)
    process.wait()


@pytest.mark.parametrize("url", ["sqlite", "postgresql"], indirect=True)
def test_killed_at_every_stage_the_champion_serves_and_it_goes_on(start, store, row, tmp_path, world):
    champion = store.champion(TASK).version
    for stage in ("gathering", "training", "comparing"):
        control = start("control", "serve.yaml")
        reach(store, row, stage)
        wait_until(lambda: is_working(tmp_path, row), 600)
        kill(control)
        wait_until(lambda: not is_working(tmp_path, row))  # its process went with it
        assert store.champion(TASK).version == champion
        assert store.retrain(row.id).stage == stage
    control = start("control", "serve.yaml")
    found = reach(store, row, "shadow")
    kill(control)
    experiment = found.facts["experiment"]
    move_experiment(store, experiment, Move("running", reason="by command"), utc_now())
    control = start("control", "serve.yaml")
    reach(store, row, "ab")
    kill(control)
    assert store.champion(TASK).version == champion
    move_experiment(store, experiment, Move("promoted", reason="it is better"), utc_now())
    control = start("control", "serve.yaml")
    ended = reach(store, row, "promoted")
    assert [one for one, _ in ended.facts["history"]] == [
        *("requested", "gathering", "training", "comparing", "registering", "shadow", "ab", "promoted")
    ]
    model = store.champion(TASK)
    assert (model.version, model.parent) == (ended.facts["challenger"], champion)
    assert not (tmp_path / "retrain" / "runs" / row.id / "data").exists()
    acts = {line.act for line in store.audit_log(target=row.id)}
    assert acts == {f"retrain.{one}" for one, _ in ended.facts["history"]}


def test_a_poisoned_challenger_is_refused_whole_way_long(start, store, row):
    """Four keys send as many wrong labels as they may, on answers that were not sure."""
    champion = store.champion(TASK).version
    for evil in range(4):
        rows = make_rows(120, first=6000 + evil * 120)
        answer(store, rows, key=f"evil{evil}", flip=True, at=utc_now() - HOUR)
    start("control", "serve.yaml")
    ended = reach(store, row, "rejected", "failed", "shadow", "promoted")
    assert ended.stage == "rejected", ended.facts.get("reason")
    assert "its security score on the golden set is" in ended.facts["reason"]
    assert store.champion(TASK).version == champion
    assert [one.stage for one in store.models(TASK)] == ["champion", "rejected"]
    assert store.experiments() == []


def test_stopped_while_it_trains_it_ends_with_its_process(start, store, row, tmp_path):
    start("control", "serve.yaml")
    reach(store, row, "training")
    wait_until(lambda: is_working(tmp_path, row), 600)
    stop_retrain(store, row.id, utc_now(), "k1")
    wait_until(lambda: not is_working(tmp_path, row))
    wait_until(lambda: not (tmp_path / "retrain" / "runs" / row.id / "data").exists())
    assert store.retrain(row.id).facts["reason"] == "stopped by k1"
    assert len(store.models(TASK)) == 1


def test_from_feedback_over_http_to_a_new_champion_that_answers(world, tmp_path):
    """The whole of it behind a real server: answers, feedback, retraining, shadow, promotion."""
    guard = RunningGuard(
        tmp_path,
        [world.champion],
        refresh_s=0.5,
        text={"log": "full"},
        monitor={"enabled": False},
        experiments={"every_s": 0.5, "lag_s": 0, "settle_s": 0},
        retrain=world.config(tmp_path / "retrain"),
    )
    try:
        with guard.client() as client:
            old = client.get("/admin/models").json()["models"][0]["version"]
            for row in make_rows(50, first=1000):
                tell_truth(client, row)
            made = client.post("/admin/retrain", json={"task": TASK}).json()
            path = f"/admin/retrain/{made['id']}"

            def has_stage(*stages):
                return client.get(path).json()["stage"] in stages

            guard.wait_until(lambda: has_stage("shadow", "failed", "rejected"), "it was not trained")
            shown = client.get(path).json()
            assert shown["stage"] == "shadow", shown["facts"].get("reason")
            new, experiment = shown["facts"]["challenger"], shown["facts"]["experiment"]

            def has_judged():
                assert tell_truth(client, make_rows(2, first=3000)[0]) == old
                with open_store(guard.database) as store:
                    return store.predictions(where=PredictionFilter(version=new, is_shadow=True))

            guard.wait_until(has_judged, "the challenger did not judge in the shadow")
            assert client.post(f"/admin/experiments/{experiment}/promote", json={}).status_code == 200
            guard.wait_until(lambda: has_stage("promoted"), "its end was not noticed")
            guard.wait_until(lambda: tell_truth(client, make_rows(1)[0]) == new, "the champion of before answers")
    finally:
        guard.kill()


def tell_truth(client, row):
    """Have a row judged and say what it really is; the version that answered."""
    answer = client.post("/v1/classify", json={"input": {"prompt": row["prompt"], "response": row["response"]}})
    assert answer.status_code == 200, answer.text
    said = {"id": answer.json()["id"], "task": TASK, "label": row[TASK]}
    assert client.post("/v1/feedback", json=said).status_code == 200
    return answer.json()["results"][0]["tasks"][TASK]["version"]
