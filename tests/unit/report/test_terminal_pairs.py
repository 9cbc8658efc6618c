import io

import pytest
from rich.console import Console

from demur.report import print_comparison


def one(difference=0.1, p=0.2, t=None):
    figures = {"difference": difference, "low": 0.05, "high": 0.15, "p_holm": p, "t_p_holm": t}
    return {"custom_score": figures, "f1_macro": figures | {"low": None}}


def pair(a, b, **more):
    return {"a": a, "b": b, "n": 120, "groups": 40, "clustered_p_holm": 0.0004, "metrics": one(**more)}


def found(pairs, winner="win", **statistics):
    protocols = {"cv": {"pairs": pairs} | statistics}
    return {
        "settings": {"level": 0.95, "metrics": ["custom_score", "f1_macro"]},
        "tasks": {"prompt_risk": {"winner": winner, "protocols": protocols}},
    }


def printed(given, width=110, **options):
    stream = io.StringIO()
    print_comparison(given, Console(file=stream, width=width), **options)
    return stream.getvalue()


def test_a_pair_is_a_row_with_difference_interval_and_chance():
    shown = printed(found([pair("win", "rules", difference=-0.123, p=0.0312)]))
    assert "Prompt risk · grouped cross-validation, n = 120 rows in 40 groups" in shown
    assert "−0.123" in shown
    assert "+0.05 to +0.15" in shown
    assert "0.031" in shown
    assert "<0.001" in shown


def test_folds_have_a_column_only_where_they_were_tested():
    assert "folds" not in printed(found([pair("a", "b")]))
    assert "folds" in printed(found([pair("a", "b", t=0.4)]))


def test_of_many_pairs_the_winners_are_printed():
    pairs = [pair(f"m{number}", f"k{number}") for number in range(11)] + [pair("m0", "win")]
    shown = printed(found(pairs))
    assert "m0" in shown
    assert "m7" not in shown
    assert "and 11 pairs without the winner: --all" in shown
    assert "m7" in printed(found(pairs), is_whole=True)


def test_the_winners_pairs_stand_first():
    shown = printed(found([pair("other", "rules"), pair("rules", "win")]))
    assert shown.index("win") < shown.index("other")


def test_what_would_go_unseen_is_said():
    detectable = {"f1_macro": {"median": 0.043, "rows_for_small": 1234}}
    shown = printed(found([pair("a", "b")], detectable=detectable))
    assert "macro-F1: differences below about 0.043 would mostly go unseen" in shown
    assert "about 1\u202f234 rows" in shown


@pytest.mark.parametrize("width", [80, 160])
def test_the_table_fits_the_terminal(width):
    shown = printed(found([pair("a_rather_long_model_name", "another_long_model_name")]), width)
    assert max(len(line) for line in shown.splitlines()) <= width


def test_the_runs_of_a_comparison_are_named():
    given = found([pair("a:x", "b:x")]) | {"runs": {"a": "runs/one", "b": "runs/two"}}
    assert "a = runs/one" in printed(given)
