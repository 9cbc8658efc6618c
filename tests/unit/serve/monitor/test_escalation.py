import json
from datetime import timedelta
from functools import cache

import numpy as np
import pytest

from demur.config import parse_settings
from demur.serve.monitor._config import EscalationConfig
from demur.serve.monitor._escalation import (
    Escalation,
    SampledRow,
    budget_left,
    decide_level,
    draw_rows,
    recent_spending,
)

from .conftest import NOON

CONFIG = EscalationConfig()


@cache
def rows(scored, contrary, unscored=0):
    labels = ["b"] * contrary + ["a"] * (scored - contrary)
    found = [SampledRow(f"p{n}", f"r{n}", 0, "a", "scored", label) for n, label in enumerate(labels)]
    return tuple(found + [SampledRow(f"u{n}", f"v{n}", 0, "a", "unscored", None, "why") for n in range(unscored)])


def escalation(**values):
    defaults = {
        "id": "e1",
        "task": "refusal",
        "version": "v1",
        "cause": "run",
        "judge": "people",
        "since": NOON,
        "begun_at": NOON,
        "level_at": NOON,
    }
    return Escalation(**(defaults | values))


def test_it_survives_being_kept():
    found = escalation(rows=rows(3, 1, 1), decided=({"level": 0},), outcome="agreed", ended_at=NOON, note="n")
    assert Escalation.from_json(json.loads(json.dumps(found.to_json()))) == found
    assert Escalation.from_json(json.loads(json.dumps(escalation().to_json()))) == escalation()


def test_unscored_rows_are_in_neither_count():
    assert escalation(rows=rows(20, 4, 6)).counts == (4, 20, 6)


@pytest.mark.parametrize(
    ("level", "scored", "contrary", "outcome", "next_level"),
    [
        (0, 25, 12, None, 1),
        (1, 75, 30, None, 2),
        (2, 200, 80, "retrain", 2),
        (0, 25, 2, "agreed", 0),
        (2, 200, 31, "agreed", 2),
        (0, 14, 14, "inconclusive", 0),
    ],
)
def test_a_level_decides(level, scored, contrary, outcome, next_level):
    found = decide_level(escalation(level=level, rows=rows(scored, contrary)), CONFIG, NOON + timedelta(hours=1))
    assert (found.outcome, found.level) == (outcome, next_level)
    assert found.decided[-1]["scored"] == scored
    assert found.decided[-1]["is_passed"] is (outcome in (None, "retrain"))


def test_the_next_level_waits_from_now_on():
    later = NOON + timedelta(hours=1)
    assert decide_level(escalation(rows=rows(25, 15)), CONFIG, later).level_at == later


def test_many_unscored_rows_decide_nothing_even_if_all_others_contradict():
    found = decide_level(escalation(rows=rows(10, 10, 15)), CONFIG, NOON)
    assert found.outcome == "inconclusive"
    assert found.note == "10 of 25 rows were scored"


@pytest.mark.parametrize("rate", [0.1, 0.15])
def test_retraining_is_asked_for_wrongly_as_rarely_as_the_last_level_says(rate):
    """Whole escalations of a champion that is contradicted no more often than it may be."""
    generator = np.random.default_rng(0)
    asked = 0
    for _ in range(800):
        is_contrary = generator.random(200) < rate
        found = escalation()
        while found.outcome is None:
            size = CONFIG.levels[found.level].rows
            found = decide_level(
                escalation(level=found.level, rows=rows(size, int(is_contrary[:size].sum()))), CONFIG, NOON
            )
        asked += found.outcome == "retrain"
    assert asked / 800 <= 0.05 + 0.012


def test_a_champion_that_is_wrong_is_found():
    generator = np.random.default_rng(1)
    asked = 0
    for _ in range(150):
        is_contrary = generator.random(200) < 0.4
        found = escalation()
        while found.outcome is None:
            size = CONFIG.levels[found.level].rows
            found = decide_level(
                escalation(level=found.level, rows=rows(size, int(is_contrary[:size].sum()))), CONFIG, NOON
            )
        asked += found.outcome == "retrain"
    assert asked / 150 > 0.95


def test_rows_are_drawn_at_random_once_and_again_the_same():
    candidates = [SampledRow(f"p{n}", f"r{n}", 0, "a") for n in range(100)]
    first = draw_rows(candidates, escalation(), 20)
    assert len({one.prediction for one in first}) == 20
    assert draw_rows(candidates[::-1], escalation(), 20) == first
    assert draw_rows(candidates, escalation(id="e2"), 20) != first
    more = draw_rows(candidates, escalation(rows=first), 30)
    assert not {one.prediction for one in more} & {one.prediction for one in first}
    assert len(draw_rows(candidates, escalation(rows=first), 500)) == 80


def test_verdicts_are_taken_once():
    found = escalation(rows=(SampledRow("p0", "r0", 0, "a"), SampledRow("p1", "r1", 0, "a")))
    scored = found.score({"p0": ("b", None), "p1": (None, "no text"), "other": ("a", None)})
    assert [(one.state, one.judged, one.reason) for one in scored.rows] == [
        ("scored", "b", None),
        ("unscored", None, "no text"),
    ]
    assert scored.score({"p0": ("a", None)}) == scored
    assert found.waiting
    assert not scored.waiting


def test_the_budget_is_of_24_hours():
    config = parse_settings(EscalationConfig, {"budget_per_day": 100})
    spent = [[(NOON - timedelta(hours=hours)).isoformat(), 30] for hours in (30, 20, 1)]
    assert budget_left(spent, config, NOON) == 40
    assert len(recent_spending(spent, NOON)) == 2
    assert budget_left([[NOON.isoformat(), 500]], config, NOON) == 0
    assert budget_left([[NOON.isoformat(), 30], [NOON.isoformat(), -30]], config, NOON) == 100
