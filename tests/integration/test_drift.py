"""Drift on real answers: replays of the benchmark in small, and the whole monitor over a real store."""

import importlib.util
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from demur.store import InputSampleRow, ModelRow, PredictionRow, open_store
from demur.tasks import REFUSAL

BENCHMARK = Path(__file__).parents[2] / "benchmarks" / "drift"
NOON = datetime(2031, 5, 4, 12, tzinfo=UTC)
GPT = "gpt-4"


def load_benchmark(name):
    spec = importlib.util.spec_from_file_location(f"drift_{name}", BENCHMARK / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def replays():
    return load_benchmark("replay")


@pytest.fixture
def answers(replays, real_data):
    """Answers of five models, as the monitor sees them."""
    return replays.read_answers(real_data / "refusal.jsonl")


@pytest.mark.slow
def test_unchanged_answers_raise_no_alarm_and_another_model_is_found_within_500(replays, answers):
    """The bounds of few replays are wide; the benchmark has hundreds."""
    config = replays.settings()
    quiet = [replays.replay(answers, replays.Plan(GPT, 0.0, 750, 0, seed), config) for seed in range(12)]
    assert sum(bool(one["alarms"]["lond"]) for one in quiet) <= 2
    windows = [window["p"] for one in quiet for window in one["windows"]]
    assert np.mean(np.array(windows) <= 0.05) <= 0.12
    for seed in range(6):
        found = replays.replay(answers, replays.Plan(GPT, 1.0, 150, 450, 100 + seed), config)
        alarms = [end for end in found["alarms"]["lond"] if end > 150]
        assert alarms
        assert alarms[0] - 150 <= 500


@pytest.mark.slow
def test_the_whole_monitor_finds_another_model_from_what_is_stored(replays, answers, tmp_path):
    """Reference of the first live rows, then the same, then GPT-4's answers; a step after every fifty."""
    from demur.config import parse_settings
    from demur.serve.monitor import MonitorConfig, step

    generator = np.random.default_rng(3)
    usual = generator.permutation(np.flatnonzero(answers.models != GPT))
    other = generator.permutation(np.flatnonzero(answers.models == GPT))
    order = [*usual[:1000], *other[:400]]
    config = parse_settings(MonitorConfig, {"reference": {"rows": 500}, "window": {"settle_s": 0, "min_gap_s": 0}})
    with open_store(f"sqlite:///{tmp_path / 'demur.db'}") as store:
        store.migrate()
        store.register_model(
            ModelRow(task="refusal", name="tfidf", version="v1", folder="none", stage="champion", at=NOON)
        )
        alarms = []
        for first in range(0, len(order), 50):
            rows = [answers.frame.row(int(place), named=True) for place in order[first : first + 50]]
            put_rows(store, rows, first)
            now = NOON + timedelta(seconds=10 * (first + 50))
            for run in step(store, config, now).runs:
                alarms += [first + 50] * run.facts["alarm"]["is_alarm"]
        assert alarms
        assert 1000 < alarms[0] <= 1500
        assert store.monitor_state("escalation/refusal")["judge"] == "people"
        assert b"I cannot" not in (tmp_path / "demur.db").read_bytes()


def put_rows(store, rows, first):
    """Answers as a worker records them, ten seconds apart."""
    predictions, samples = [], []
    for number, row in enumerate(rows, start=first):
        at = NOON + timedelta(seconds=10 * number)
        predictions.append(
            PredictionRow(
                request_id=f"r{number}",
                task="refusal",
                model="tfidf",
                version="v1",
                label=row["label"],
                probabilities=dict(zip(REFUSAL.labels, row["probabilities"], strict=True)),
                threat_score=row["threat_score"],
                prompt_chars=row["prompt_chars"],
                response_chars=row["response_chars"],
                at=at,
            )
        )
        samples.append(
            InputSampleRow(
                request_id=f"r{number}",
                at=at,
                **{name: row[name] for name in ("language", "sketch", "prompt", "response")},
            )
        )
    store.add_predictions(predictions)
    store.add_input_samples(samples)


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_an_alarm_leads_to_retraining_on_either_database(kind, tmp_path, request):
    """Made-up traffic that changes; each step is of a monitor that knows nothing but the database."""
    from demur.config import parse_settings
    from demur.serve.monitor import MonitorConfig, step

    url = f"sqlite:///{tmp_path / 'demur.db'}" if kind == "sqlite" else request.getfixturevalue("postgres")
    config = parse_settings(
        MonitorConfig,
        {
            "reference": {"rows": 200},
            "window": {"rows": 100, "every": 50, "min_rows": 50, "settle_s": 0, "min_gap_s": 0},
            "compare": {"permutations": 999, "refits": 99},
            "alarm": {"season": 5},
            "escalation": {"levels": [{"rows": 20, "confidence": 0.8}, {"rows": 40, "confidence": 0.95}]},
        },
    )
    with open_store(url) as store:
        store.migrate()
        store.register_model(
            ModelRow(task="refusal", name="tiny", version="v1", folder="none", stage="champion", at=NOON)
        )
        put_made_up(store, range(200), ("no_refusal", 0.2))
        assert step(store, config, NOON + timedelta(seconds=2000)).runs == ()
        put_made_up(store, range(200, 300), ("hard_refusal", 0.8))
        (run,) = step(store, config, NOON + timedelta(seconds=3000), Contrary()).runs
        assert run.facts["alarm"]["is_alarm"]
        for second in range(3001, 3020):
            report = step(store, config, NOON + timedelta(seconds=second), Contrary())
        assert report.escalations[0].outcome == "retrain"
        (asked,) = store.retrains("refusal", stage="requested")
        assert asked.facts["drift_run"] == run.id
        assert len(store.feedback("refusal")) == 40


class Contrary:
    name = "contrary"

    def judge(self, task, rows):
        return ["soft_refusal"] * len(rows)


def put_made_up(store, numbers, said):
    """Answers of one label and about one score, with texts and without samples."""
    label, score = said
    generator = np.random.default_rng(numbers.start)
    scores = np.clip(score + generator.normal(size=len(numbers)) / 20, 0, 1).tolist()
    store.add_predictions(
        [
            PredictionRow(
                request_id=f"r{number}",
                task="refusal",
                model="tiny",
                version="v1",
                label=label,
                probabilities={"no_refusal": 1 - one, "hard_refusal": one, "soft_refusal": 0.0},
                threat_score=one,
                prompt="p",
                response=f"answer {number}",
                at=NOON + timedelta(seconds=10 * number),
            )
            for number, one in zip(numbers, scores, strict=True)
        ]
    )


def test_delays_count_from_the_shift_and_what_was_not_found_is_later_than_any():
    run = load_benchmark("run")
    found = [
        {"plan": {"before": 400}, "windows": [{"tests": {"ks": 0.1}}], "alarms": alarms, "tests": {"ks": ends}}
        for alarms, ends in (
            ({"lond": [250, 500, 625], "k_of_m": [], "each": [500]}, [500]),
            ({"lond": [750], "k_of_m": [], "each": [750]}, []),
            ({"lond": [1000], "k_of_m": [], "each": []}, []),
        )
    ]
    summary = run.summarise_shift(found)
    lond = summary["rules"]["lond"]
    assert lond["delay"] == {"p10": 100.0, "p50": 350.0, "p90": 600.0}
    assert lond["found_within_500"]["count"] == 2
    assert summary["rules"]["k_of_m"]["delay"]["p50"] is None
    assert summary["tests_alone"]["ks"]["found_within_500"]["share"] == pytest.approx(1 / 3)


def test_false_alarms_are_counted_by_window_and_by_stream():
    run = load_benchmark("run")
    found = [
        {
            "windows": [
                {"p": 0.5, "tests": {"ks": 0.5, "mmd": None}},
                {"p": 0.01, "tests": {"ks": 0.01, "mmd": 0.3}},
            ],
            "alarms": {"lond": [], "k_of_m": [], "each": [250]},
        }
    ] * 4
    quiet = run.summarise_quiet(found)
    assert quiet["signals"]["share"] == 0.5
    assert quiet["streams_with_a_false_alarm"]["each"]["count"] == 4
    assert quiet["signals_of_a_test_alone"]["mmd"]["n"] == 4
    assert not run.passes({"quiet": quiet, "shifts": {}})


def test_without_the_real_answers_the_benchmark_says_what_it_needs(monkeypatch, capsys):
    run = load_benchmark("run")
    monkeypatch.setattr(sys, "argv", ["run.py"])
    monkeypatch.delenv("DEMUR_REAL_DATA", raising=False)
    assert run.main() == 2
    assert "DEMUR_REAL_DATA" in capsys.readouterr().err
