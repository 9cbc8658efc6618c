import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest

from demur.errors import ArtifactError
from demur.serve.batching import Job, QueueClosedError
from demur.serve.pool import LoadOptions, Pool, ServedModel, Texts, find_models, load_model
from demur.serve.pool import _pool as module


@pytest.fixture
def rows(rules_folder, ready_folder):
    """Two models of one task: rules, and tfidf_logreg."""
    return [find_models([folder])[0] for folder in (rules_folder, ready_folder)]


@pytest.fixture
def make_pool():
    made = []

    def make(load):
        made.append(Pool(load, grace_s=20))
        return made[-1]

    yield make
    for pool in made:
        assert pool.close()


def load_row(row):
    return load_model(Path(row.folder), row.name)


def test_the_champion_answers(make_pool, rows):
    pool = make_pool(load_row)
    assert pool.update(rows[:1])
    assert list(pool.state.tasks) == ["refusal"]
    assert pool.state.find("refusal", None).version == rows[0].version


def test_nothing_changes_where_the_champions_are_the_same(make_pool, rows):
    pool = make_pool(load_row)
    pool.update(rows[:1])
    state = pool.state
    assert not pool.update(rows[:1])
    assert pool.state is state


def test_an_arm_is_found_by_its_version_and_the_champion_otherwise(make_pool, rows):
    champion, other = rows
    pool = make_pool(load_row)
    pool.update([champion], [replace(other, stage="challenger")])
    assert pool.state.find("refusal", other.version).version == other.version
    assert pool.state.find("refusal", "unknown").version == champion.version


def test_a_model_of_another_task_answers_none_of_ours(make_pool, rules_folder, risk_folder):
    pool = make_pool(load_row)
    pool.update(find_models([rules_folder, risk_folder]))
    risk = pool.state.champions["prompt_risk"].version
    assert pool.state.find("refusal", risk).version != risk


def test_a_replaced_model_finishes_what_it_has(make_pool, rows):
    champion, successor = rows
    pool = make_pool(load_row)
    pool.update([champion])
    old = pool.state.find("refusal", None)
    entered, opened, ended = threading.Event(), threading.Event(), threading.Event()
    judge = old._batcher._judge

    def wait_then_judge(texts):
        entered.set()
        assert opened.wait(20)
        return judge(texts)

    old._batcher._judge = wait_then_judge
    jobs = [Job([Texts("a", "b")], [2], time.monotonic() + 60, lambda job: None) for _ in range(2)]
    jobs[1].tell = lambda job: ended.set()
    for job in jobs:
        old.submit(job)
    assert entered.wait(20)
    assert pool.update([successor])
    assert pool.state.find("refusal", None).version == successor.version
    opened.set()
    assert ended.wait(20)
    assert jobs[1].answers[0]["refusal"].label == "no_refusal"


def test_a_replaced_model_takes_no_new_rows(make_pool, rows):
    pool = make_pool(load_row)
    pool.update(rows[:1])
    old = pool.state.find("refusal", None)
    pool.update(rows[1:])
    until = time.monotonic() + 20

    def submit_until_closed():
        while time.monotonic() < until:
            old.submit(Job([Texts("a")], [1], until, lambda job: None))

    with pytest.raises(QueueClosedError, match="replaced"):
        submit_until_closed()


def test_a_champion_that_cannot_be_loaded_leaves_the_one_before_serving(make_pool, rows, monkeypatch):
    champion, successor = rows
    tries = []

    def load(row):
        if row.version == successor.version:
            tries.append(row)
            raise ArtifactError("it is damaged")
        return load_row(row)

    pool = make_pool(load)
    pool.update([champion])
    assert not pool.update([successor])
    assert pool.state.find("refusal", None).version == champion.version
    assert pool.problems == {successor.version: "it is damaged"}
    pool.update([successor])
    assert len(tries) == 1
    monkeypatch.setattr(module, "_RETRY_S", 0.0)
    pool._retry_at.clear()
    pool.update([successor])
    assert len(tries) == 2
    pool.update([champion])
    assert pool.problems == {}


def test_a_model_that_was_tried_is_not_loaded_again(make_pool, rows):
    loaded = []

    def load(row):
        loaded.append(row.version)
        return load_row(row)

    champion, successor = rows
    pool = make_pool(load)
    pool.update([champion])
    pool.check(successor)
    pool.check(champion)
    assert pool.state.find("refusal", None).version == champion.version
    pool.update([successor])
    assert loaded == [champion.version, successor.version]
    assert pool.state.find("refusal", None).version == successor.version


def test_a_model_that_cannot_be_loaded_fails_its_trial(make_pool, rows):
    def load(row):
        raise ArtifactError("it is damaged")

    with pytest.raises(ArtifactError, match="damaged"):
        make_pool(load).check(rows[0])


def test_a_model_of_two_tasks_is_loaded_once(make_pool, dual_folder):
    loaded = []

    def load(row):
        loaded.append(row.version)
        return load_row(row)

    pool = make_pool(load)
    pool.update(find_models([dual_folder]))
    assert len(loaded) == 1
    assert sorted(pool.state.tasks) == ["jailbreak", "refusal"]
    assert pool.state.champions["refusal"] is pool.state.champions["jailbreak"]


def test_a_task_without_champion_is_answered_no_more(make_pool, rules_folder, risk_folder):
    pool = make_pool(load_row)
    both = find_models([rules_folder, risk_folder])
    pool.update(both)
    pool.update(both[:1])
    assert list(pool.state.tasks) == ["refusal"]


def test_requests_are_answered_while_models_are_exchanged(make_pool, rows):
    pool = make_pool(load_row)
    pool.update(rows[:1])
    stop, answered, faults = threading.Event(), [], []

    def ask():
        while not stop.is_set():
            ended = threading.Event()
            job = Job([Texts("a", "I cannot.")], [10], time.monotonic() + 60, lambda job, ended=ended: ended.set())
            for _ in range(5):
                try:
                    pool.state.find("refusal", None).submit(job)
                    break
                except QueueClosedError:
                    continue
            if not ended.wait(20) or job.error is not None:
                faults.append(job.error)
            answered.append(1)

    thread = threading.Thread(target=ask)
    thread.start()
    for number in range(4):
        pool.update([rows[(number + 1) % 2]])
    stop.set()
    thread.join(30)
    assert faults == []
    assert answered


def test_models_are_of_the_kind_that_is_served(make_pool, rows):
    pool = make_pool(load_row)
    pool.update(rows[:1])
    assert all(isinstance(model, ServedModel) for model in pool.state.models.values())
    assert LoadOptions().threads == 1
