"""Replays of recorded answers through the monitor's own comparison: windows by count, alarms, who found what."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from demur.config import parse_settings
from demur.data import Records
from demur.metrics import AlarmConfig, AlarmState, adjust_fdr, decide_alarm
from demur.models import find_family
from demur.serve.monitor._compare import compare_rows, judge_findings
from demur.serve.monitor._config import MonitorConfig
from demur.serve.monitor._frame import SCHEMA
from demur.serve.monitor._sampler import Answered, choose_sketches
from demur.tasks import REFUSAL

LABELS = REFUSAL.labels


@dataclass(frozen=True)
class Answers:
    """Answers of several models to the same prompts, as a champion trained on another source judged them."""

    frame: pl.DataFrame
    models: np.ndarray[Any, Any]
    """Who answered, ``(n,)``."""


def read_answers(path: Path, encoder: str | None = None) -> Answers:
    """The answers of XSTest, judged by TF-IDF and logistic regression trained on the other source."""
    with path.open(encoding="utf-8") as lines:
        rows = [json.loads(line) for line in lines]
    known = [row | {"refusal": row["label"]} for row in rows if row["label"] in LABELS]
    champion = train_champion([row for row in known if row["source"] != "xstest"])
    answers = [row for row in rows if row["source"] == "xstest"]
    return judge_answers(champion, answers, encoder)


def train_champion(rows: list[dict[str, Any]]) -> Any:
    """TF-IDF with logistic regression, not calibrated: what drifts is watched, not how well it is judged."""
    family, config = find_family("tfidf_logreg", None, {}, "the benchmark")
    return family(REFUSAL, config).fit(Records.from_rows(rows))


def judge_answers(champion: Any, answers: list[dict[str, Any]], encoder: str | None) -> Answers:
    """The table that the monitor sees of answers."""
    found = champion.predict([{"prompt": row["prompt"], "response": row["response"]} for row in answers])
    samples = choose_sketches(encoder).rows(
        [Answered(str(n), 0, row["prompt"], row["response"]) for n, row in enumerate(answers)]
    )
    columns = {
        "at": [None] * len(answers),
        "subject": [None] * len(answers),
        "label": found.labels,
        "truth": [row["label"] if row["label"] in LABELS else None for row in answers],
        "probabilities": found.probabilities.tolist(),
        "flagged": [label != LABELS[0] for label in found.labels],
        "threat_score": found.threat_score,
        "prompt_chars": [len(row["prompt"]) for row in answers],
        "response_chars": [len(row["response"]) for row in answers],
        "latency_ms": [None] * len(answers),
        **{name: [getattr(one, name) for one in samples] for name in ("language", "sketch", "prompt", "response")},
    }
    return Answers(pl.DataFrame(columns, schema=SCHEMA), np.array([row["model"] for row in answers]))


@dataclass(frozen=True)
class Plan:
    """What one replay is made of."""

    shifted: str
    """Whose answers come after the shift, and not before."""
    share: float
    """Of the answers after it."""
    before: int
    """Requests before the shift."""
    after: int
    seed: int


def settings(**values: Any) -> MonitorConfig:
    """The monitor's defaults but for a reference of 500 rows, since there are only so many answers."""
    return parse_settings(MonitorConfig, {"reference": {"rows": 500}} | values)


def replay(answers: Answers, plan: Plan, config: MonitorConfig) -> dict[str, Any]:
    """One stream: a reference, then requests, window by window; what each rule and each test alone would tell.

    Reference and stream are drawn without replacement from one order of all answers, so that without a shift they
    may be exchanged.
    """
    generator = np.random.default_rng(plan.seed)
    usual = generator.permutation(np.flatnonzero(answers.models != plan.shifted))
    other = generator.permutation(np.flatnonzero(answers.models == plan.shifted))
    reference = answers.frame[usual[: config.reference.rows]]
    usual = usual[config.reference.rows :]
    is_other = generator.random(plan.after) < plan.share
    is_other &= np.cumsum(is_other) <= len(other)
    later = np.empty(plan.after, dtype=np.int64)
    later[is_other] = other[: is_other.sum()]
    later[~is_other] = usual[plan.before : plan.before + (~is_other).sum()]
    stream = answers.frame[np.concatenate([usual[: plan.before], later])]
    rules = {rule: AlarmConfig(rule=rule) for rule in ("lond", "k_of_m", "each")}  # type: ignore[arg-type]
    watch = Watchers(rules)
    size, every = config.window.rows, config.window.every
    for end in range(every, len(stream) + 1, every):
        window = stream[max(0, end - size) : end]
        if len(window) < config.window.min_rows:
            continue
        found = judge_findings(
            compare_rows(REFUSAL, reference, window, config.compare, seed=plan.seed * 1000 + end), 0.05, {}
        )
        watch.look(end, found)
    return {"plan": plan.__dict__, "windows": watch.windows, "alarms": watch.alarms, "tests": watch.tests}


class Watchers:
    """Alarm rules side by side, and each test on its own under LOND."""

    def __init__(self, rules: dict[str, AlarmConfig]) -> None:
        self._rules, self._states = rules, dict.fromkeys(rules, AlarmState())
        self._alone: dict[str, AlarmState] = {}
        self.windows: list[dict[str, Any]] = []
        self.alarms: dict[str, list[int]] = {name: [] for name in rules}
        """Rule to the requests after which it alarmed."""
        self.tests: dict[str, list[int]] = {}
        """Test to the same, where it is the only one."""

    def look(self, end: int, found: Any) -> None:
        """Take the tests of the window that ends after ``end`` requests."""
        for name, rule in self._rules.items():
            decision = decide_alarm(found.p_value, self._states[name], rule)
            self._states[name] = decision.state
            self.alarms[name] += [end] * decision.is_alarm
        for one in found.findings:
            name, state = one.test.name, self._alone.get(one.test.name, AlarmState())
            decision = decide_alarm(one.test.p_value, state, AlarmConfig())
            self._alone[name] = decision.state
            self.tests.setdefault(name, []).extend([end] * decision.is_alarm)
        values = {one.test.name: one.test.p_value for one in found.findings}
        self.windows.append(
            {"end": end, "p": found.p_value, "tests": values, "adjusted": adjust_fdr(list(values.values()))}
        )
