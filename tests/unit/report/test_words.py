import pytest
from hypothesis import given
from hypothesis import strategies as st

from demur.metrics import Estimate
from demur.report import _words as words


@pytest.mark.parametrize("value", [None, float("nan"), float("inf"), "x"])
@pytest.mark.parametrize("write", [words.number, words.signed, words.count, words.duration, words.measured])
def test_what_is_missing_is_an_em_dash_never_zero_or_nan(write, value):
    assert write(value) == "—"


def test_numbers_have_fixed_decimals_and_a_real_minus():
    assert words.number(-0.12345) == "−0.123"
    assert words.number(0.5, 1) == "0.5"


def test_differences_have_a_sign():
    assert words.signed(0.05, 2) == "+0.05"
    assert words.signed(-0.05, 2) == "−0.05"


def test_an_interval_needs_both_bounds():
    assert words.interval(Estimate(0.5, 0.4, 0.6, 9), 1) == "0.4 to 0.6"
    assert words.interval(Estimate(0.5, None, None, 9)) == "—"


def test_a_figure_without_interval_stands_alone():
    assert words.with_interval(Estimate(0.5, None, None, 9), 2) == "0.50"
    assert words.with_interval(Estimate(None, None, None, 0)) == "—"
    assert words.with_interval(Estimate(0.5, 0.4, 0.6, 9), 1) == "0.5 [0.4, 0.6]"
    assert words.with_interval(Estimate(0.1, -0.1, 0.3, 9), 1, sign=True) == "+0.1 [−0.1, +0.3]"


def test_counts_are_grouped_in_threes():
    assert words.count(1234567) == "1\u202f234\u202f567"
    assert words.count(12) == "12"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.84, "0.84 s"),
        (0.02, "0.02 s"),
        (4.25, "4.2 s"),
        (42, "42 s"),
        (59.6, "1 min 00 s"),
        (200, "3 min 20 s"),
        (3900, "1 h 05 min"),
    ],
)
def test_durations_read_as_people_say_them(seconds, text):
    assert words.duration(seconds) == text


@pytest.mark.parametrize(("value", "text"), [(0.0123, "0.01"), (1.26, "1.3"), (123.4, "123")])
def test_measurements_have_the_decimals_their_size_bears(value, text):
    assert words.measured(value) == text


def test_metrics_of_a_class_name_the_class():
    assert words.metric_name("f1_c1", ["no", "yes"]) == "F1 of yes"
    assert words.metric_name("recall_c2", ["no", "yes"]) == "recall of class 2"


def test_unknown_metrics_and_protocols_keep_their_name():
    assert words.metric_name("own") == "own"
    assert words.protocol_name("own") == "own"
    assert words.protocol_name(None) == "—"


def test_tasks_become_headings():
    assert words.task_title("prompt_risk") == "Prompt risk"


def test_sentences_name_protocols_as_people_do():
    assert words.plain("leave_one_model_out was left out") == "leave one answering model out was left out"
    assert words.plain("f1_external is null") == "macro-F1 on the blind set is not known"


def test_sentences_name_metrics_as_people_do():
    assert words.plain(" highest custom_score, then f1_macro ") == "highest security score, then macro-F1"


@given(st.text(), st.integers(min_value=3, max_value=40))
def test_shortening_never_exceeds_the_limit_and_keeps_both_ends(text, limit):
    short = words.shorten(text, limit)
    assert len(short) <= max(limit, 0)
    assert short == text or (short[0] == text[0] and short[-1] == text[-1] and "…" in short)


@pytest.mark.parametrize(
    ("items", "text"), [([], ""), (["a"], "a"), (["a", "b"], "a and b"), (["a", "b", "c"], "a, b and c")]
)
def test_lists_read_as_sentences(items, text):
    assert words.join_words(items) == text


@pytest.mark.parametrize(
    ("value", "shown"),
    [(0.00004, "<0.001"), (0.0312, "0.031"), (0.25, "0.25"), (1.0, "1.00"), (None, "—"), (float("nan"), "—")],
)
def test_p_values_are_short(value, shown):
    assert words.chance(value) == shown
