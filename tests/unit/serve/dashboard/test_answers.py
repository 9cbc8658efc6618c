from dataclasses import replace

import pytest

from demur.serve.dashboard._answers import OTHER, chart_task, chart_traffic, make_marks, make_tiles, number, rate
from demur.store import StepSummary, TrafficSummary
from demur.tasks import PROMPT_RISK, REFUSAL


def with_steps(empty, *steps, traffic=()):
    rows = [*steps, *[StepSummary()] * (60 - len(steps))]
    counted = [*traffic, *[TrafficSummary()] * (60 - len(traffic))]
    return replace(empty, tasks={"refusal": rows}, traffic=counted, feedback=5)


def summary(labels, **values):
    n = sum(labels.values())
    given = {"rows": n, "sampled": n, "labels": labels, "latency_ms": {50: 2.0, 95: 9.0, 99: 20.0}}
    return StepSummary(**(given | values))


def tiles_of(found):
    return {one.name: one for one in make_tiles(found)}


def test_headline_figures_are_sums_and_shares(empty):
    steps = (
        summary({"no_refusal": 6, "hard_refusal": 4}, flagged=3, unsure=1),
        summary({"no_refusal": 10}, rows=90),
    )
    tiles = tiles_of(with_steps(empty, *steps, traffic=[TrafficSummary(100, 2), TrafficSummary(20, 0)]))
    shown = {name: one.value for name, one in tiles.items()}
    assert shown == {
        "Requests": "120",
        "Failed": "1.67 %",
        "Judgements": "100",
        "Flagged": "3.0 %",
        "Unsure": "1.0 %",
        "Latency p95": "9.0 ms",
        "Feedback": "5",
    }
    assert tiles["Requests"].note == "2 a minute"
    assert tiles["Failed"].is_bad


def test_without_traffic_there_are_dashes_and_no_division_by_zero(empty):
    assert {one.name: one.value for one in make_tiles(empty)} == {
        "Judgements": "0",
        "Flagged": "—",
        "Unsure": "—",
        "Latency p95": "—",
        "Feedback": "0",
    }
    assert chart_traffic(with_steps(empty)) is None


def test_requests_are_drawn_with_the_failed_ones_apart(empty):
    chart = chart_traffic(with_steps(empty, traffic=[TrafficSummary(10, 4), TrafficSummary(3, 0)]))
    assert [one.values[:2] for one in chart.series] == [[6, 3], [4, 0]]
    assert chart.summary == f"13 requests, 4 of them failed; most in one step: 10, at {make_marks(empty)[0]}."
    assert (chart.top, chart.middle) == ("10", "5")


def test_where_nobody_counts_requests_judgements_are_drawn(empty):
    chart = chart_traffic(with_steps(empty, summary({"no_refusal": 7})))
    assert chart.title == "Judgements in steps of minute"
    assert [one.name for one in chart.series] == ["judgements"]


@pytest.mark.parametrize(
    ("task", "order", "styles"),
    [
        (REFUSAL, ["hard_refusal", "soft_refusal", "no_refusal", "new"], ["s6", "s5", "s1", "s2"]),
        (PROMPT_RISK, ["malicious", "suspicious", "benign", "new"], ["s6", "s5", "s1", "s2"]),
        (None, ["benign", "no_refusal", "new"], ["s1", "s2", "s3"]),
    ],
)
def test_threats_stand_on_the_ground_in_warm_colours(empty, task, order, styles):
    labels = {"no_refusal" if task is not PROMPT_RISK else "benign": 8, "new": 1}
    labels |= {"benign": 9} if task is None else {}
    chart = chart_task(with_steps(empty, summary(labels)), "refusal", task).labels
    assert [one.name for one in chart.series] == order
    assert [one.style for one in chart.series] == styles


def test_shares_of_a_step_sum_to_one_and_empty_steps_have_none(empty):
    labels = {f"label {place}": place for place in range(1, 12)}
    chart = chart_task(with_steps(empty, summary(labels)), "refusal", None).labels
    assert len(chart.series) == 7
    assert chart.series[-1].name == OTHER
    assert sum(one.values[0] for one in chart.series) == pytest.approx(1)
    assert {one.values[1] for one in chart.series} == {None}
    assert chart.series[0].shown[1] == "—"


def test_latency_is_drawn_in_three_lines(empty):
    found = chart_task(with_steps(empty, summary({"no_refusal": 3}), StepSummary()), "refusal", REFUSAL)
    assert [(one.name, one.values[0], one.values[1]) for one in found.latency.series] == [
        ("p50", 2.0, None),
        ("p95", 9.0, None),
        ("p99", 20.0, None),
    ]
    assert "95 % at most 9.0 ms" in found.latency.summary


def test_a_task_says_when_it_was_sampled_or_silent(empty):
    assert not chart_task(with_steps(empty, summary({"a": 3})), "refusal", None).is_sampled
    assert chart_task(with_steps(empty, summary({"a": 3}, rows=900)), "refusal", None).is_sampled
    silent = chart_task(with_steps(empty), "refusal", REFUSAL)
    assert (silent.labels, silent.latency) == (None, None)


def test_numbers_read_well():
    assert [number(one) for one in (None, 0, 1234567.4)] == ["—", "0", "1\u202f234\u202f567"]
    assert [rate(one) for one in (0.26, 3.0, 12.4)] == ["0.3", "3", "12"]


def test_shares_are_of_all_rows_where_only_a_part_was_read(empty):
    busy = summary({"no_refusal": 500}, rows=6000, flagged=250)
    calm = summary({"hard_refusal": 300})
    found = with_steps(empty, busy, *[calm] * 10)
    assert tiles_of(found)["Flagged"].value == "33.3 %"
    assert chart_task(found, "refusal", REFUSAL).labels.summary == (
        "Over all steps: hard_refusal 33.3 %, soft_refusal 0.0 %, no_refusal 66.7 %."
    )
