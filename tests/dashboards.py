"""A store as a busy guard leaves it: traffic, drift, experiments, retrainings; another full of hostile texts."""

from collections import Counter
from datetime import timedelta

import numpy as np

from demur.config import parse_settings
from demur.serve.experiments import (
    ExperimentConfig,
    ExperimentRouter,
    ExperimentsConfig,
    Move,
    create_experiment,
    move_experiment,
    step,
)
from demur.serve.monitor._watch_state import WatchState, state_name
from demur.store import DriftRunRow, FeedbackRow, ModelRow, PredictionRow, RetrainRow, TrafficRow
from demur.tasks import PROMPT_RISK, REFUSAL

TASKS = {"refusal": REFUSAL, "prompt_risk": PROMPT_RISK}
SHARES = {"refusal": (0.58, 0.18, 0.24), "prompt_risk": (0.66, 0.22, 0.12)}
HOSTILE = (
    "<script>document.title='owned'</script>",
    "\"><img src=x onerror=document.title='owned'>",
    "' onmouseover='document.title=1",
    "</style><script>document.title='owned'</script>",
    "{{ 7 * 7 }} {% raw %}",
    "\u202eright to left\u202c and \u2066isolated",
    "nul \x00 bell \x07 escape \x1b[31m delete \x7f",
    "lone \ud800 surrogate",
    "]]>--><!-- javascript:alert(1)",
    "\u05e9\u05dc\u05d5\u05dd \u4f60\u597d \U0001f642",
)
"""What a user, a caller or a model's name may hold."""


def fill_store(store, now, requests=2400, texts=False, subjects=500):
    """Everything that the page shows, with real experiments; ``requests`` over the last 24 hours."""
    champions = register(store, now)
    add_traffic(store, now, champions, requests, texts=texts)
    add_experiments(store, now, subjects)
    for task, is_changed in (("refusal", True), ("prompt_risk", False)):
        for run in drift_runs(task, now, is_changed=is_changed):
            store.add_drift_run(run)
        watch = WatchState("v1", now - timedelta(days=1), now, now, reference="r").to_json()
        store.change_monitor_state(state_name(task), lambda _, kept=watch: kept)
    add_retrains(store, now)


def register(store, now):
    """A champion for each task that has none, and others beside it; task to the champion's row."""
    found = {row.task: row for row in store.models(stage="champion")}
    for task in TASKS:
        if task not in found:
            row = ModelRow(task=task, name="tfidf_logreg", version=f"{task:x<40}", folder="none", stage="champion")
            found[task] = store.register_model(row)
    others = [("deberta_lora", "c1a5", "challenger", 0.912), ("tfidf_nb", "77be", "retired", 0.846)]
    others += [("tfidf_svm", "02fd", "rejected", 0.801)]
    for place, (name, version, stage, score) in enumerate(others):
        row = ModelRow(
            task="refusal",
            name=name,
            version=version * 10,
            folder=f"models/{name}",
            stage=stage,
            metrics={"security_score": score},
            parent=found["refusal"].version,
            at=now - timedelta(days=place + 1),
        )
        store.register_model(row)
    return found


def moments(now, requests, random):
    """Times over the last 24 hours, more of them by day."""
    hours = 24 * random.random(4 * requests)
    kept = random.random(4 * requests) < 0.25 + 0.2 * np.sin((hours - 7) / 24 * 2 * np.pi)
    return [now - timedelta(hours=float(one)) for one in np.sort(hours[kept])[::-1]]


def add_traffic(store, now, champions, requests, texts=False):
    """Answers, requests and feedback of a day; in the last three hours labels are others, and answers slower."""
    random = np.random.default_rng(11)
    rows, traffic, feedback = [], [], []
    for number, at in enumerate(moments(now, requests, random)):
        is_late = now - at < timedelta(hours=3)
        rows += [
            answer(random, number, at, task, champions[task], is_late=is_late, texts=texts) for task in champions
        ]
        traffic.append(TrafficRow(worker="w", seconds=5.0, requests=1, errors=int(random.random() < 0.004), at=at))
        if number % 9 == 0:
            feedback.append(FeedbackRow(request_id=f"r{number}", task="refusal", label="no_refusal", at=at))
    store.add_predictions(rows)
    store.add_traffic(traffic)
    store.add_feedback(feedback)


def answer(random, number, at, task, champion, *, is_late=False, texts=False):
    labels, shares = TASKS[task].labels, np.array(SHARES[task])
    shares = shares * (1, 1.6, 2.2) if is_late and task == "refusal" else shares
    chances = random.dirichlet(6 * shares / shares.sum() + 0.05)
    label = labels[int(chances.argmax())]
    words = f"Request number {number}: how do I keep bread fresh for a week?"
    return PredictionRow(
        request_id=f"r{number}",
        task=task,
        model=champion.name,
        version=champion.version,
        label=label,
        probabilities=dict(zip(labels, chances.tolist(), strict=True)),
        threat_score=float(1 - chances[0]),
        is_flagged=bool(chances[0] < 0.35),
        is_unsure=bool(chances.max() < 0.5),
        prompt=words if texts else None,
        response="I'm sorry, but I can't help with that." if texts else None,
        prompt_chars=len(words),
        response_chars=38,
        language="en",
        latency_ms=float(random.gamma(6, 1.6) * (1.5 if is_late else 1)),
        at=at,
    )


def add_experiments(store, now, subjects):
    """One that ended, and one under way with a clear difference."""
    config = ExperimentsConfig(lag_s=0, settle_s=0)
    for name, begun, n in (("naive Bayes again", 80, 40), ("DeBERTa with LoRA", 30, subjects)):
        values = {
            "name": name,
            "task": "refusal",
            "metric": "accuracy",
            "challengers": [{"name": "lora", "version": "c1a5" * 10, "weight": 0.5}],
        }
        at = now - timedelta(hours=begun)
        row = create_experiment(store, parse_settings(ExperimentConfig, values), at)
        move_experiment(store, row.id, Move("running", actor="demo"), at)
        send_subjects(store, at + timedelta(minutes=5), n, name)
        step(store, at + timedelta(hours=6), config)
        if n == 40:
            move_experiment(store, row.id, Move("stopped", "demo", "too few rows"), at + timedelta(hours=20))


def send_subjects(store, at, n, name):
    """Every 16th answer of the challenger is wrong and every third of the champion's, whoever is sent to which."""
    random, router = np.random.default_rng(3), ExperimentRouter(store)
    router.refresh()
    rows, feedback, answered = [], [], Counter()
    for number in range(n):
        subject, truth = f"{name}-{number}", REFUSAL.labels[number % 3]
        route = router.route("refusal", subject)
        answered[route.arm] += 1
        is_right = answered[route.arm] % (16 if route.arm == "lora" else 3) != 0
        rows.append(
            PredictionRow(
                request_id=subject,
                task="refusal",
                model="m",
                version=route.version,
                experiment=route.experiment,
                arm=route.arm,
                subject=subject,
                label=truth if is_right else REFUSAL.labels[(number + 1) % 3],
                probabilities={},
                threat_score=0.5,
                is_flagged=False,
                is_unsure=False,
                latency_ms=float(random.gamma(6, 2)),
                at=at + timedelta(seconds=number),
            )
        )
        said = {"task": "refusal", "label": truth, "key_id": f"k{number % 10}"}
        feedback.append(FeedbackRow(request_id=subject, **said, at=rows[-1].at))
    store.add_predictions(rows)
    store.add_feedback(feedback)


def drift_runs(task, now, count=24, *, is_changed=False):
    """Runs in the shape that the monitor writes; the last ones with a signal, then an alarm."""
    names = ("score_ks", "score_psi", "labels_chi2", "labels_js", "response_length_ks", "inputs_mmd")
    for place in range(count):
        left = count - place
        state = "alarm" if is_changed and left <= 2 else "signal" if is_changed and left in (3, 9) else "quiet"
        tests = [
            {
                "name": name,
                "family": "score",
                "statistic": 0.21,
                "effect": 0.31 if state != "quiet" and number < 4 else 0.04,
                "p_value": 1e-5 if state != "quiet" and number < 4 else 0.4 + number / 20,
                "p_adjusted": 4e-5 if state != "quiet" and number < 4 else 0.7,
                "is_drift": state != "quiet" and number < 4,
                "reason": None,
            }
            for number, name in enumerate(names)
        ]
        tests.append(
            dict.fromkeys(("statistic", "effect", "p_value", "p_adjusted"))
            | {
                "name": "errors",
                "family": "operation",
                "is_drift": False,
                "reason": "no failed request on either side",
            }
        )
        decision = {"is_signal": state != "quiet", "is_alarm": state == "alarm", "level": 0.001, "windows": place}
        quiet = {"is_signal": False, "is_alarm": False, "level": 0.001, "windows": place, "alarms": 0}
        at = now - timedelta(minutes=60 * left - 50)
        yield DriftRunRow(
            id=f"{task}/{place}",
            task=task,
            at=at,
            window={"rows": 250, "first": at.isoformat(), "last": at.isoformat(), "version": "v1"},
            tests=tests,
            is_drift=state != "quiet",
            facts={
                "alarm": decision | {"alarms": 1},
                "operation": quiet,
                "performance": {
                    "accuracy": {"value": 0.912, "low": 0.887, "high": 0.934, "n": 250},
                    "false_alarm": {"value": 0.031, "low": 0.012, "high": 0.058, "n": 250},
                    "missed_threat": {"value": 0.083, "low": 0.041, "high": 0.131, "n": 250},
                },
            },
        )


def add_retrains(store, now):
    """Three that ended, and one under way."""
    every = [
        ("promoted", "drift", 9, 8, "its experiment is promoted: accuracy 3.1 points above the champion's"),
        (
            "rejected",
            "command",
            5,
            5,
            "not shown to be no worse on language=de (84 rows, lower bound -7.2 points)",
        ),
        ("failed", "schedule", 2, 2, "the process of training ended with -9 (killed, often for want of memory)"),
        ("comparing", "drift", 0, None, None),
    ]
    for stage, cause, begun, ended, reason in every:
        facts = {"cause": cause, "challenger": "c1a5" * 10, "history": []} | ({"reason": reason} if reason else {})
        at = now - timedelta(days=begun, hours=1, minutes=20)
        store.add_retrain(
            RetrainRow(
                task="refusal",
                stage=stage,
                facts=facts,
                at=at,
                ended_at=None if ended is None else now - timedelta(days=ended),
            )
        )


def fill_hostile(store, now):
    """Every place that somebody else may write into holds what would harm a careless page."""
    text = " ".join(HOSTILE)
    for number, one in enumerate(HOSTILE):
        version = f"{one}{number}"
        store.register_model(
            ModelRow(task=f"t{one}", name=one, version=version, folder=one, stage="champion", metrics={one: one})
        )
        values = {"request_id": f"h{number}{one}", "model": one, "version": version, "is_flagged": True}
        values |= {"label": one, "probabilities": {one: 1.0}, "threat_score": 1.0, "prompt": one, "response": text}
        values |= {"prompt_chars": len(one), "response_chars": len(text), "language": one, "latency_ms": 3.0}
        at = now - timedelta(seconds=number)
        store.add_predictions(
            [PredictionRow(task=f"t{one}", at=at, **values), PredictionRow(task="refusal", at=at, **values)]
        )
        store.add_retrain(
            RetrainRow(task=one, stage=one, at=at, facts={"cause": one, "reason": text, "challenger": one})
        )
        run = next(iter(drift_runs("refusal", now, 1)))
        tests = [run.tests[0] | {"name": one, "reason": one, "is_drift": True}]
        facts = run.facts | {"performance": {"reason": one}}
        store.add_drift_run(
            DriftRunRow(task=f"t{one}", at=at, window={"rows": 3}, tests=tests, is_drift=True, facts=facts)
        )
