"""Escalations step by step against a real store: judges, people, budget, waits, crashes in between."""

from dataclasses import replace
from datetime import timedelta

import pytest

from demur.errors import ConfigError
from demur.serve.monitor import Alerter
from demur.serve.monitor._escalate import (
    REQUESTED,
    Escalator,
    current_escalation,
    distinct_rows,
    has_texts,
    stop_escalation,
)
from demur.store import FeedbackRow, RetrainRow
from demur.tasks import PROMPT_RISK, REFUSAL

from .conftest import at, make_traffic

NOW = at(1000)


class Contrary:
    """A judge that contradicts the champion in so many of ten rows; abstains from some."""

    name = "contrary"

    def __init__(self, of_ten=0, abstains=0):
        self.of_ten, self.abstains, self.seen = of_ten, abstains, 0

    def judge(self, task, rows):
        found = []
        for row in rows:
            self.seen += 1
            said = row.response.split(":")[0]
            other = next(label for label in task.labels if label != said)
            place = self.seen % 10
            found.append(None if place < self.abstains else other if place >= 10 - self.of_ten else said)
        return found


@pytest.fixture
def texts(store):
    """400 answers whose texts are logged; a response begins with the champion's label."""
    predictions, _ = make_traffic(400)
    rows = [replace(row, prompt=f"prompt {n}", response=f"{row.label}: {n}") for n, row in enumerate(predictions)]
    store.add_predictions(rows)
    return rows


@pytest.fixture
def escalator(store, config):
    def make(judge=None, **changes):
        return Escalator(store, config(**changes), Alerter(store), judge)

    return make


def run(escalator, steps=40, now=NOW):
    """Steps until there is an outcome."""
    found = None
    for number in range(steps):
        found = escalator.advance(REFUSAL, "v1", now + timedelta(seconds=number))
        if found is None or found.outcome is not None:
            break
    return found


def begin(escalator, now=NOW, cause="run1"):
    return escalator.begin("refusal", "v1", cause, at(0), now)


def test_a_judge_that_agrees_ends_it_with_the_first_sample(store, texts, escalator):
    one = escalator(Contrary(0))
    begin(one)
    found = run(one)
    assert (found.outcome, len(found.rows), found.level) == ("agreed", 10, 0)
    assert store.retrains() == []


def test_a_judge_that_contradicts_leads_to_larger_samples_and_retraining(store, texts, escalator):
    one = escalator(Contrary(6))
    begin(one)
    found = run(one)
    assert (found.outcome, len(found.rows)) == ("retrain", 40)
    assert [level["rows"] for level in found.decided] == [10, 20, 40]
    (request,) = store.retrains("refusal")
    assert request.stage == REQUESTED
    assert request.facts["cause"] == "drift"
    assert request.facts["drift_run"] == "run1"
    assert request.facts["history"][0][0] == REQUESTED
    assert request.facts["decided"][-1]["contrary"] == 24
    assert len({row.request_id for row in found.rows}) == 40


def test_verdicts_are_kept_as_feedback_of_the_judge(store, texts, escalator):
    one = escalator(Contrary(0))
    begin(one)
    run(one)
    kept = store.feedback("refusal")
    assert len(kept) == 10
    assert {row.source for row in kept} == {"judge"}
    labels = {row.request_id: row.label for row in texts}
    assert all(row.label == labels[row.request_id] for row in kept)


def test_rows_that_the_judge_abstains_from_count_for_neither_side(store, texts, escalator):
    one = escalator(Contrary(0, abstains=3))
    begin(one)
    found = run(one)
    assert (found.outcome, found.counts) == ("agreed", (0, 7, 3))
    assert len(store.feedback("refusal")) == 7


def test_too_many_unscored_rows_decide_nothing(store, texts, escalator):
    one = escalator(Contrary(5, abstains=5))
    begin(one)
    assert run(one).outcome == "inconclusive"
    assert store.retrains() == []


def test_a_judge_that_cannot_work_leaves_budget_and_escalation(store, texts, escalator):
    class Broken:
        name = "broken"

        def judge(self, task, rows):
            raise ConfigError("no such model; give one")

    one = escalator(Broken())
    begin(one)
    for number in range(3):
        with pytest.raises(ConfigError, match="no such model"):
            one.advance(REFUSAL, "v1", NOW + timedelta(seconds=number))
    assert store.monitor_state("judged/refusal")["spent"] == []
    assert run(escalator(Contrary(0))).outcome == "agreed"


def test_a_judge_that_never_works_ends_it_without_a_decision(store, texts, escalator):
    class Broken:
        name = "broken"

        def judge(self, task, rows):
            raise ConfigError("no such model; give one")

    one = escalator(Broken(), escalation={"wait_s": 3600, "cool_down_s": 0})
    begin(one)
    with pytest.raises(ConfigError, match="no such model"):
        one.advance(REFUSAL, "v1", NOW)
    found = one.advance(REFUSAL, "v1", NOW + timedelta(hours=2))
    assert (found.outcome, found.counts) == ("inconclusive", (0, 0, 10))
    assert found.rows[0].reason == "the judge could not work in time (ConfigError)"
    assert begin(one, NOW + timedelta(hours=3), "run2").cause == "run2"


def test_rows_given_again_to_a_judge_that_fails_are_of_the_budget(store, texts, escalator):
    class Failing:
        name = "failing"
        given = 0

        def judge(self, task, rows):
            self.given += len(rows)
            raise TimeoutError

    judge = Failing()
    one = escalator(judge, escalation={"budget_per_day": 16})
    begin(one)
    assert run(one).outcome == "inconclusive"
    assert judge.given == 16


def test_without_texts_people_judge_by_request_id(store, escalator, serve_rows):
    serve_rows(200)
    judge = Contrary(0)
    one = escalator(judge)
    begin(one)
    found = one.advance(REFUSAL, "v1", NOW)
    assert (found.judge, len(found.waiting), judge.seen) == ("people", 10, 0)
    assert "texts are not logged" in found.note
    give(store, found, NOW)
    assert run(one, now=NOW + timedelta(seconds=5)).outcome == "agreed"


def give(store, found, now, label=None, source="people"):
    store.add_feedback(
        [
            FeedbackRow(
                request_id=row.request_id,
                item=row.item,
                task="refusal",
                label=label or row.label,
                source=source,
                at=now,
            )
            for row in found.waiting
        ]
    )


def test_feedback_of_users_is_not_that_of_people_who_were_asked(store, escalator, serve_rows):
    serve_rows(200)
    one = escalator()
    begin(one)
    found = one.advance(REFUSAL, "v1", NOW)
    give(store, found, NOW, source="user")
    assert len(one.advance(REFUSAL, "v1", NOW + timedelta(seconds=1)).waiting) == 10


def test_rows_that_nobody_judges_in_time_are_unscored(store, escalator, serve_rows):
    serve_rows(200)
    one = escalator(escalation={"wait_s": 3600})
    begin(one)
    assert one.advance(REFUSAL, "v1", NOW).outcome is None
    found = one.advance(REFUSAL, "v1", NOW + timedelta(hours=2))
    assert (found.outcome, found.counts[2]) == ("inconclusive", 10)


def test_people_may_contradict_until_retraining(store, escalator, serve_rows):
    serve_rows(300)
    one, now = escalator(), NOW
    begin(one)
    found = one.advance(REFUSAL, "v1", now)
    while found.outcome is None:
        give(store, found, now, label="soft_refusal")
        now += timedelta(minutes=1)
        found = one.advance(REFUSAL, "v1", now)
    assert found.outcome == "retrain"


def test_the_budget_holds_over_a_day(store, texts, escalator):
    judge = Contrary(6)
    one = escalator(judge, escalation={"budget_per_day": 15})
    begin(one)
    found = run(one, 10)
    assert (found.outcome, judge.seen) == (None, 15)
    found = run(one, 10, NOW + timedelta(hours=25))
    assert judge.seen == 30
    assert found.level == 2


def test_a_budget_that_stays_spent_ends_it_without_a_decision(store, texts, escalator):
    one = escalator(Contrary(6), escalation={"budget_per_day": 5, "wait_s": 3600})
    begin(one)
    run(one, 3)
    assert run(one, 3, NOW + timedelta(hours=2)).outcome == "inconclusive"


def test_only_one_is_under_way_and_the_next_waits(store, texts, escalator):
    one = escalator(Contrary(0), escalation={"cool_down_s": 3600})
    begin(one)
    assert begin(one, cause="run2") == "an escalation is under way"
    run(one)
    assert begin(one, NOW + timedelta(minutes=5), "run2").startswith("cooling down until")
    assert begin(one, NOW + timedelta(minutes=5), "admin").cause == "admin"


def test_after_the_cool_down_another_may_begin(store, texts, escalator):
    one = escalator(Contrary(0), escalation={"cool_down_s": 3600})
    first = begin(one)
    run(one)
    later = begin(one, NOW + timedelta(hours=2), "run2")
    assert later.id != first.id


def test_retraining_is_not_asked_for_twice_in_a_short_time(store, texts, escalator):
    store.add_retrain(RetrainRow(task="refusal", stage="done", at=NOW - timedelta(hours=1)))
    one = escalator(Contrary(6))
    begin(one)
    found = run(one)
    assert found.outcome == "cooling"
    assert len(store.retrains()) == 1
    assert "was asked for at" in found.note


def test_an_administrator_stops_it(store, texts, escalator):
    one = escalator(Contrary(6))
    begin(one)
    one.advance(REFUSAL, "v1", NOW)
    assert stop_escalation(store, "refusal", "key1", NOW).outcome == "stopped"
    assert stop_escalation(store, "refusal", "key1", NOW) is None
    assert run(one).outcome == "stopped"
    assert store.retrains() == []
    assert store.audit_log(act="escalation.stop")[0].actor == "key1"


def test_another_champion_supersedes_it(store, texts, escalator):
    one = escalator(Contrary(6))
    begin(one)
    assert one.advance(REFUSAL, "v2", NOW).outcome == "superseded"


def test_each_step_may_be_of_another_process(store, texts, config):
    """Nothing is kept but in the store: a fresh escalator for every step comes to the same end."""
    judge = Contrary(6)
    begin(Escalator(store, config(), Alerter(store), judge))
    found = None
    for number in range(40):
        fresh = Escalator(store, config(), Alerter(store), judge)
        found = fresh.advance(REFUSAL, "v1", NOW + timedelta(seconds=number))
        if found.outcome is not None:
            break
    assert (found.outcome, judge.seen) == ("retrain", 40)


def test_killed_after_asking_for_retraining_it_asks_once(store, texts, escalator, monkeypatch):
    one = escalator(Contrary(6))
    begin(one)

    def die(self, found, change):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Escalator, "_end", die)
        with pytest.raises(KeyboardInterrupt):
            run(one)
    assert len(store.retrains()) == 1
    assert current_escalation(store, "refusal").outcome is None
    assert run(one).outcome == "retrain"
    assert len(store.retrains()) == 1


def test_killed_before_the_outcome_was_told_it_is_told_later(store, texts, escalator, monkeypatch):
    one = escalator(Contrary(0))
    begin(one)

    def die(self, ended):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Escalator, "_finish", die)
        with pytest.raises(KeyboardInterrupt):
            run(one)
    assert current_escalation(store, "refusal").is_told is False
    assert run(one).is_told is True
    assert [one["outcome"] for one in store.monitor_state("escalations/refusal")["ended"]] == ["agreed"]


def test_a_text_that_was_deleted_meanwhile_is_unscored(store, texts, escalator):
    one = escalator(Contrary(0), escalation={"judge": {"batch": 1}})
    begin(one)
    found = one.advance(REFUSAL, "v1", NOW)
    for row in found.waiting[:3]:
        store.delete(row.request_id)
    found = run(one, now=NOW + timedelta(seconds=1))
    assert found.counts == (0, 7, 3)


def test_every_move_is_in_the_audit_log(store, texts, escalator):
    one = escalator(Contrary(6))
    begin(one)
    run(one)
    acts = [row.act for row in store.audit_log(target="refusal")]
    assert acts.count("escalation.level") == 2
    assert {"escalation.begin", "escalation.retrain"} <= set(acts)


def test_rows_of_equal_texts_are_one(store):
    predictions, _ = make_traffic(6)
    hashed = [replace(row, response_hash="h" if n < 4 else None) for n, row in enumerate(predictions)]
    assert len(distinct_rows(hashed, "e1")) == 3
    assert {row.text_hash for row in distinct_rows(hashed, "e1")} & {
        row.text_hash for row in distinct_rows(hashed, "e2")
    } == {None}


def test_a_text_that_is_repeated_is_judged_once_on_all_levels(store, escalator):
    """It comes again before each step, beside thirty others."""

    class Listening(Contrary):
        heard = ()

        def judge(self, task, rows):
            self.heard = (*self.heard, *(row.response for row in rows))
            return super().judge(task, rows)

    fresh, _ = make_traffic(30)
    store.add_predictions([replace(row, response=f"{row.label}: {n}") for n, row in enumerate(fresh)])
    judge = Listening(10)
    one = escalator(judge)
    begin(one)
    for number in range(20):
        again = replace(fresh[0], id=f"again{number}", request_id=f"again{number}", response="no_refusal: again")
        store.add_predictions([again])
        one.advance(REFUSAL, "v1", NOW + timedelta(seconds=number))
    assert current_escalation(store, "refusal").level == 2
    assert len(judge.heard) == len(set(judge.heard)) == 31


def test_a_task_has_texts_if_one_that_it_reads_was_kept():
    (row,), _ = make_traffic(1)
    assert not has_texts(row, REFUSAL)
    assert has_texts(replace(row, response="x"), REFUSAL)
    assert not has_texts(replace(row, response="x"), PROMPT_RISK)


def test_without_rows_it_waits_and_then_ends(store, escalator):
    one = escalator(Contrary(0), escalation={"wait_s": 60})
    begin(one)
    assert one.advance(REFUSAL, "v1", NOW).outcome is None
    found = one.advance(REFUSAL, "v1", NOW + timedelta(minutes=5))
    assert (found.outcome, found.note) == ("inconclusive", "no rows")


def test_nothing_is_done_where_nothing_is_under_way(escalator):
    assert escalator().advance(REFUSAL, "v1", NOW) is None
