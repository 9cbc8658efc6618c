"""The benchmark of reliability in short: real servers and databases, brought down meanwhile; and it can fail."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from tests.integration.conftest import environment

from demur.store import FeedbackRow, PredictionRow, open_store
from pg import find_programs

FOLDER = Path(__file__).parents[2] / "benchmarks" / "reliability"


@pytest.fixture
def models(tmp_path):
    from demur.models.rules import RulesClassifier
    from demur.tasks import PROMPT_RISK, REFUSAL

    RulesClassifier(REFUSAL).save(tmp_path / "refusal")
    RulesClassifier(PROMPT_RISK).save(tmp_path / "risk")
    return ["--model", str(tmp_path / "refusal"), "--model", str(tmp_path / "risk")]


@pytest.fixture
def run(tmp_path, models):
    def measure(database, scenario, *options):
        done = subprocess.run(
            [
                *(sys.executable, str(FOLDER / "run.py"), *models, "--out", str(tmp_path / "out")),
                *("--database", database, "--scenario", scenario, *options),
            ],
            env=environment(),
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
        assert f"| {database} | {scenario} |" in (tmp_path / "out" / "result.md").read_text()
        return json.loads((tmp_path / "out" / f"{database}-{scenario}.json").read_text())

    return measure


def check(result, answered):
    assert (result["lost"], result["twice"], result["contradicting"]) == (0, 0, 0)
    assert result["left_in_spool"] == {"rows": 0, "quarantined": 0, "broken_files": 0}
    assert result["answered"] >= answered
    assert result["rows_recorded"] >= result["rows_told"] > answered


@pytest.mark.slow
@pytest.mark.parametrize("scenario", ["plain", "database", "kill", "all"])
@pytest.mark.parametrize("database", ["sqlite", "postgresql"])
def test_what_is_answered_is_recorded_once_whatever_fails_meanwhile(run, database, scenario):
    if database == "postgresql" and find_programs() is None:
        pytest.skip("no PostgreSQL server here: initdb is neither on PATH nor in /usr/lib/postgresql/*/bin")
    given = ["--seconds", "24", "--rate", "15", "--outage", "8", "--kill-every", "4"]
    result = run(database, scenario, *given)
    check(result, 100)
    assert (result["database_down_s"] == 8) == (scenario in ("database", "all"))
    assert (result["workers_killed"] >= 3) == (scenario in ("kill", "all"))
    assert result["groups_killed"] == (scenario in ("kill", "all"))
    # With "all" the group is killed while the database is away: a server that is started then ends with one
    # sentence (database.required), and whoever keeps it tries again.
    assert set(result["ended_by_itself"]) <= ({1} if scenario == "all" else set())
    assert result["restarts"] == result["groups_killed"] + len(result["ended_by_itself"])
    if scenario in ("plain", "database"):
        assert result["no_answer"] == result["refused"].get("503", 0) == 0
    if scenario == "database":
        assert result["drained_after_s"] is not None


class Compared:
    """A store, an account, and what the benchmark says of them."""

    def __init__(self, store, compare, account):
        self.store, self._compare, self.account = store, compare, account
        self.row = PredictionRow(
            request_id="mine~1",
            task="refusal",
            model="rules",
            version="1",
            label="no_refusal",
            probabilities={"no_refusal": 1.0},
            threat_score=0.0,
        )
        self.said = FeedbackRow(request_id="mine~1", task="refusal", label="no_refusal", source="user")
        store.add_predictions([self.row])
        store.add_feedback([self.said])
        account.answers["mine~1"] = {(0, "refusal"): "no_refusal"}
        account.feedback[self.said.id] = ("mine~1", 0, "refusal", "no_refusal")

    def counts(self):
        found = self._compare(self.store, self.account)
        return found["lost"], found["twice"], found["contradicting"]


@pytest.fixture
def compared(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(FOLDER)
    from compare import compare
    from traffic import Account

    with open_store(f"sqlite:///{tmp_path / 'guard.db'}") as store:
        store.migrate()
        yield Compared(store, compare, Account())


def test_what_is_told_and_recorded_is_as_it_should_be(compared):
    assert compared.counts() == (0, 0, 0)


def test_an_answer_that_is_not_recorded_is_lost(compared):
    compared.account.answers["other"] = {(0, "refusal"): None, (1, "refusal"): "no_refusal"}
    assert compared.counts() == (2, 0, 0)


def test_feedback_that_is_not_recorded_is_lost(compared):
    compared.account.feedback["other"] = ("mine~1", 0, "refusal", "no_refusal")
    assert compared.counts() == (1, 0, 0)


def test_an_item_that_is_recorded_under_two_keys_is_there_twice(compared):
    compared.store.add_predictions([replace(compared.row, id="another")])
    assert compared.counts() == (0, 1, 0)


def test_a_request_that_is_recorded_under_two_ids_is_there_twice(compared):
    compared.store.add_predictions([replace(compared.row, id="", request_id="mine~2")])
    assert compared.counts() == (0, 1, 0)


def test_feedback_that_was_given_once_and_is_there_twice_is_noticed(compared):
    compared.store.add_feedback([replace(compared.said, id="another")])
    assert compared.counts() == (0, 1, 0)


def test_another_label_than_was_told_is_noticed(compared):
    compared.account.answers["mine~1"] = {(0, "refusal"): "hard_refusal"}
    compared.account.feedback[compared.said.id] = ("mine~1", 0, "refusal", "hard_refusal")
    assert compared.counts() == (0, 0, 2)


def test_a_row_that_an_answer_did_not_tell_is_noticed(compared):
    compared.store.add_predictions([replace(compared.row, id="", item=1)])
    assert compared.counts() == (0, 0, 1)


def test_what_was_recorded_and_never_answered_is_counted_and_no_fault(compared):
    compared.store.add_predictions([replace(compared.row, id="", request_id="3")])
    assert compared.counts() == (0, 0, 0)
    assert compared._compare(compared.store, compared.account)["recorded_but_not_answered"] == 1
