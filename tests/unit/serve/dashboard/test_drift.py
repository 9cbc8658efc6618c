from dataclasses import replace
from datetime import timedelta

import pytest
from tests.dashboards import drift_runs
from tests.unit.serve.dashboard.conftest import LOCAL, NOON
from tests.unit.serve.monitor.conftest import VALUES, at, make_traffic

from demur.config import parse_settings
from demur.serve.dashboard._attention import find_concerns
from demur.serve.dashboard._drift import is_alarm, view_drift
from demur.serve.monitor import Monitor, MonitorConfig, show_tasks
from demur.store import ModelRow, StepSummary, open_store


def of(empty, runs, watches=()):
    return view_drift(replace(empty, runs={"refusal": list(runs)}, watches=list(watches)))


def test_an_alarm_names_what_differs(filled):
    refusal, risk = view_drift(filled)
    assert refusal.mood == "bad"
    assert refusal.sentence.startswith("Alarm: the last 250 answers")
    assert "Labels (chi-square)" in refusal.sentence
    assert refusal.summary == "The last 24 windows: 2 with an alarm, 2 with a signal alone, 20 quiet."
    assert [one.style for one in refusal.looks][-3:] == ["signal", "alarm", "alarm"]
    assert (risk.mood, risk.sentence) == ("good", "No drift in the last 250 answers, looked at 10 min ago.")


def test_estimates_are_given_with_their_intervals(filled):
    assert view_drift(filled)[0].estimates[0] == ("accuracy", "91.2 % (88.7 % to 93.4 %)")


def test_a_signal_is_no_alarm(empty):
    runs = [one for one in drift_runs("refusal", NOON, is_changed=True) if one.is_drift and not is_alarm(one)]
    (view,) = of(empty, runs)
    assert view.mood == "watch"
    assert "A signal, no alarm: Threat score" in view.sentence


def test_slow_answers_are_an_alarm_of_their_own(empty):
    (run,) = drift_runs("refusal", NOON, 1)
    run = replace(run, facts=run.facts | {"operation": {"is_alarm": True}})
    (view,) = of(empty, [run])
    assert view.mood == "bad"
    assert "slower or failed" in view.sentence


@pytest.mark.parametrize("facts", [{}, {"alarm": None, "performance": {"reason": "no"}}, {"performance": 3}])
def test_facts_of_another_version_are_borne(empty, facts):
    (run,) = drift_runs("refusal", NOON, 1)
    (view,) = of(empty, [replace(run, facts=facts, tests=[{"name": "new_test"}])])
    assert view.estimates == []
    assert view.tests[0]["name"] == "new test"


def test_what_was_never_watched_is_not_listed(empty):
    assert of(empty, []) == []


def test_what_the_monitor_itself_wrote_is_shown(tmp_path, empty):
    config = parse_settings(MonitorConfig, VALUES)
    with open_store(f"sqlite:///{tmp_path / 'demur.db'}") as store:
        store.migrate()
        row = ModelRow(task="refusal", name="m", version="v1", folder="none", stage="champion", at=at(-1))
        store.register_model(row)
        monitor = Monitor(store, config)
        monitor.step(at(0))
        watch = show_tasks(store)
        (view,) = view_drift(replace(empty, runs={"refusal": []}, watches=watch))
        assert view.sentence == "No window was looked at yet: 0 of 300 rows of the reference have come."
        for predictions, samples in (make_traffic(300), make_traffic(120, 300, is_changed=True)):
            store.add_predictions(predictions)
            store.add_input_samples(samples)
        for second in (421, 422):
            monitor.step(at(second))
        found = replace(empty, at=at(422) + timedelta(minutes=5), watches=show_tasks(store))
        (view,) = view_drift(replace(found, runs={"refusal": store.drift_runs("refusal")}))
    assert view.sentence.startswith("Alarm: the last 120 answers, looked at 5 min ago, differ:")
    assert "accuracy" in dict(view.estimates)
    assert view.escalation.startswith("Judging since 4 May")
    assert {one.style for one in view.looks} == {"alarm"}


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        (None, "no monitor watches the task's champion"),
        ({"note": "the reference was altered after saving; make it again"}, "the reference was altered after"),
        ({"version": "v2"}, "that was another champion, and no window of this one was looked at yet"),
    ],
)
def test_what_is_not_watched_now_is_never_green(filled, changes, why):
    watches = [one for one in filled.watches if one.task != "prompt_risk"]
    if changes is not None:
        (risk,) = (one for one in filled.watches if one.task == "prompt_risk")
        watches.append(risk.model_copy(update=changes))
    found = replace(filled, watches=watches)
    view = next(one for one in view_drift(found) if one.task == "prompt_risk")
    assert view.mood == "watch"
    assert view.sentence.startswith(f"Not watched now: {why}")
    assert view.sentence.endswith("Before that: No drift in the last 250 answers, looked at 10 min ago.")
    said = [one.words for one in find_concerns(LOCAL, found)]
    assert any(one.startswith(f"prompt_risk is not watched for drift now: {why}") for one in said)
    assert not any("not watched" in one.words for one in find_concerns(LOCAL, filled))


@pytest.mark.parametrize(
    ("days", "answered", "window_s", "mood"),
    [
        (9, (-1800, -60), 86_400, "watch"),
        (9, (-1800, -60), None, "good"),  # the monitor waits for enough rows, however long
        (9, (), 86_400, "good"),  # nothing was answered that it could have looked at
        (9, (0,), 86_400, "good"),  # or just now
        (1, (-1800, -60), 86_400, "good"),
    ],
)
def test_a_monitor_that_no_longer_looks_at_what_is_answered_is_no_watch(
    filled, empty, days, answered, window_s, mood
):
    watches = [one for one in filled.watches if one.task == "prompt_risk"]
    run = replace(filled.runs["prompt_risk"][0], at=NOON - timedelta(days=days))
    steps = [
        StepSummary(rows=3, sampled=3, labels={"safe": 3} if (begin - NOON).total_seconds() in answered else {})
        for begin, _ in empty.steps
    ]
    tasks, runs = {"prompt_risk": steps}, {"prompt_risk": [run]}
    found = replace(empty, tasks=tasks, runs=runs, watches=watches, window_s=window_s)
    (view,) = view_drift(found)
    assert view.mood == mood
    assert view.sentence.startswith("Not watched now: the monitor has not looked") is (mood == "watch")
    assert any("not watched" in one.words for one in find_concerns(LOCAL, found)) is (mood == "watch")


def test_an_alarm_stays_one_when_the_watch_ends(filled):
    refusal = next(one for one in view_drift(replace(filled, watches=[])) if one.task == "refusal")
    assert refusal.mood == "bad"
