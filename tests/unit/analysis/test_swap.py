from itertools import product

import numpy as np
import pytest

from demur.analysis import AnalysisConfig, Predicted, swap_p_values
from demur.metrics import security_score
from demur.tasks import JAILBREAK


def answers(called, y, groups):
    proba = np.eye(2)[np.array(called)]
    columns = {"group": [f"g{group}" for group in groups]}
    return Predicted([f"r{row}" for row in range(len(y))], np.array(y), proba, columns)


@pytest.fixture
def small():
    """Two models on 12 rows in 8 groups."""
    y = [0, 1, 0, 1, 0, 1, 0, 1, 0, 1, 1, 0]
    groups = [0, 0, 1, 1, 2, 3, 4, 4, 5, 6, 7, 7]
    good = [0, 1, 0, 1, 0, 1, 0, 1, 1, 1, 1, 0]
    poor = [1, 1, 0, 0, 0, 1, 1, 1, 1, 0, 0, 0]
    return answers(good, y, groups), answers(poor, y, groups)


def exact_p(a, b):
    """Every one of the swaps of whole groups."""

    def gap(first, second):
        scores = [security_score(JAILBREAK, a.y, called).value for called in (first, second)]
        return abs(scores[0] - scores[1])

    observed, found = gap(a.called, b.called), []
    for swaps in product((False, True), repeat=8):
        swapped = np.array(swaps)[a.groups]
        found.append(gap(np.where(swapped, b.called, a.called), np.where(swapped, a.called, b.called)))
    return np.mean(np.array(found) >= observed - 1e-12)


def test_random_swaps_come_near_to_all_swaps(small):
    config = AnalysisConfig(metrics=("custom_score",), permutations=9999)
    found = swap_p_values(JAILBREAK, dict(zip("ab", small, strict=True)), [("a", "b")], config)
    assert found["a", "b"]["custom_score"] == pytest.approx(exact_p(*small), abs=0.03)


def test_equal_models_have_p_of_one(small):
    found = swap_p_values(JAILBREAK, {"a": small[0], "b": small[0]}, [("a", "b")], AnalysisConfig(permutations=99))
    assert set(found["a", "b"].values()) == {1.0}


def test_the_order_of_a_pair_does_not_matter_and_equal_seeds_repeat(judged, task, fast):
    rows = {"a": judged(1.0, seed=1), "b": judged(1.6, seed=2)}
    there = swap_p_values(task, rows, [("a", "b")], fast)["a", "b"]
    back = swap_p_values(task, rows, [("b", "a")], fast)["b", "a"]
    assert there == back


def test_under_the_null_small_p_values_are_as_rare_as_they_say(judged, task):
    config = AnalysisConfig(permutations=199, metrics=("custom_score",))
    rows = {f"m{number}": judged(1.2, n=60, seed=number) for number in range(40)}
    pairs = [(f"m{number}", f"m{number + 1}") for number in range(0, 40, 2)]
    values = [found["custom_score"] for found in swap_p_values(task, rows, pairs, config).values()]
    assert np.mean(np.array(values) <= 0.1) <= 0.3
    assert 0.3 < np.mean(values) < 0.7


def test_a_clear_difference_reaches_the_smallest_value_there_is(judged, task):
    rows = {"a": judged(0.2, n=300, seed=1), "b": judged(4.0, n=300, seed=2)}
    config = AnalysisConfig(permutations=1999)
    assert swap_p_values(task, rows, [("a", "b")], config)["a", "b"]["f1_macro"] == pytest.approx(1 / 2000)


def test_a_class_without_rows_is_no_part_of_the_figure(judged, task, fast):
    rows = {name: judged(skill, k=2, seed=place) for place, (name, skill) in enumerate([("a", 1), ("b", 2)])}
    wide = {
        name: Predicted(one.ids, one.y, np.pad(one.proba, ((0, 0), (0, 1))), one.columns)
        for name, one in rows.items()
    }
    found = swap_p_values(task, wide, [("a", "b")], fast)["a", "b"]
    assert all(0 < p <= 1 for p in found.values())


@pytest.mark.parametrize("changed", [{"draws": 0}, {"permutations": 0}, {"metrics": ("roc_auc",)}])
def test_without_swaps_or_figures_of_answers_there_is_no_value(judged, task, changed):
    rows = {"a": judged(1.0, seed=1), "b": judged(2.0, seed=2)}
    assert swap_p_values(task, rows, [("a", "b")], AnalysisConfig(**changed)) == {}
