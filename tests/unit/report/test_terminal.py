import io

import pytest
from rich.console import Console

from demur.report import print_league


@pytest.fixture
def show(run):
    def print_it(results=None, width=80):
        console = Console(file=io.StringIO(), width=width, force_terminal=False)
        print_league(run.results if results is None else results, console)
        return console.file.getvalue()

    return print_it


def one_model(**model):
    entry = {"model": "m", "family": "classical", "status": "ok", "evaluations": {}} | model
    return {"tasks": {"t": {"task": {"labels": ["a", "b"]}, "winner": None, "models": [entry]}}}


@pytest.mark.parametrize("width", [80, 100, 160])
def test_no_line_is_wider_than_the_terminal(show, width):
    assert max(map(len, show(width=width).splitlines())) <= width


@pytest.mark.parametrize("width", [80, 160])
def test_every_model_of_every_task_is_a_row(show, width):
    text = show(width=width)
    for name in ("rules", "tfidf_logreg", "tfidf_xgboost", "minilm_logreg", "minilm_finetuned"):
        assert sum(line.lstrip("★ ").startswith(f"{name} ") and "0." in line for line in text.splitlines()) >= 3


def test_the_rules_are_the_first_row(show):
    lines = show().splitlines()
    rule = next(number for number, line in enumerate(lines) if "────" in line)
    assert lines[rule + 1].split()[0] == "rules"


def test_the_winner_is_starred_and_named_with_the_reason(show, refusal):
    text = " ".join(show().split())
    assert f"★ {refusal.winner.name} wins refusal: highest security score" in text


def test_the_table_says_which_rows_it_is_of(show):
    assert "Refusal · test split, n = 150" in show()


def test_wide_terminals_have_the_interval_beside_the_score(show, refusal):
    score = refusal.rules.metric("custom_score")
    assert f"{score.value:.3f} [{score.low:.2f}, {score.high:.2f}]" in show(width=140)


def test_narrow_terminals_have_the_interval_below_the_score(show, refusal):
    score = refusal.rules.metric("custom_score")
    assert f"{score.low:.2f}–{score.high:.2f}" in show(width=80)


def test_a_failed_model_is_a_row_of_dashes_with_its_reason_below(show):
    text = show(width=120)
    row = next(line for line in text.splitlines() if "broken_model" in line)
    assert row.split()[1:] == ["—"] * 6 + ["failed"]
    assert "broken_model failed and is not compared: ValueError: loss is not finite" in text


def test_a_missing_figure_is_a_dash_never_zero(show):
    text = show(one_model())
    assert "0.00" not in text
    assert "nan" not in text.lower()


def test_missed_thresholds_are_named(show):
    text = show(one_model(failed_thresholds=["recall_c2 0.4 is below 0.8"]))
    assert "m misses: recall_c2 0.4 is below 0.8" in text


def test_no_winner_is_said_with_the_reason(show):
    results = one_model()
    results["tasks"]["t"]["why"] = "no model passes every threshold"
    assert "No winner for t: no model passes every threshold." in show(results)


def test_markup_in_names_is_shown_not_obeyed(show):
    assert "[red]m[/red]" in show(one_model(model="[red]m[/red]"), width=120)


def test_long_names_keep_both_ends_in_a_narrow_terminal(show):
    text = show(one_model(model="begin" + "x" * 60 + "end"))
    row = next(line for line in text.splitlines() if "begin" in line)
    assert "…" in row
    assert "end " in row


def test_a_skipped_model_is_said_with_its_reason(show):
    text = show(one_model(status="skipped", reason="no hub is reachable"), width=120)
    assert "m was skipped and is not compared: no hub is reachable" in text


def test_no_task_prints_nothing(show):
    assert show({}) == ""
