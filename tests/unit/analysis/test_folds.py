import math
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from demur.analysis import corrected_t
from demur.analysis._folds import fold_names, fold_scores, rows_share
from demur.metrics import security_score


def test_without_correction_it_is_the_paired_t_test():
    a, b = np.random.default_rng(0).random((2, 8))
    reference = stats.ttest_rel(a, b)
    found = corrected_t(a - b, share=0.0)
    assert found.statistic == pytest.approx(reference.statistic)
    assert found.p == pytest.approx(reference.pvalue)
    assert found.df == 7


def test_the_correction_raises_the_variance_by_hand():
    differences = [0.02, 0.05, -0.01, 0.03]
    mean = sum(differences) / 4
    variance = sum((one - mean) ** 2 for one in differences) / 3
    t = mean / math.sqrt((1 / 4 + 1 / 3) * variance)
    found = corrected_t(differences, share=1 / 3)
    assert found.statistic == pytest.approx(t)
    assert found.p == pytest.approx(2 * stats.t.cdf(-abs(t), 3))


def test_equal_folds_share_one_part_in_j_less_one(judged):
    assert rows_share(judged(1.0, n=120, folds=4)) == pytest.approx(1 / 3)


def test_folds_without_the_figure_are_left_out():
    assert corrected_t([0.1, math.nan, 0.3, 0.2], 0.5) == corrected_t([0.1, 0.3, 0.2], 0.5)


@pytest.mark.parametrize(
    ("differences", "p", "reason"),
    [
        ([0.0, 0.0, 0.0], 1.0, None),
        ([0.1, 0.1, 0.1], None, "every fold gives the same difference"),
        ([0.1], None, "fewer than two folds have the figure"),
        ([], None, "fewer than two folds have the figure"),
    ],
)
def test_what_has_no_spread_has_no_test(differences, p, reason):
    found = corrected_t(differences, 0.25)
    assert (found.p, found.reason) == (p, reason)


def test_a_fold_is_scored_on_its_own_rows(judged, task):
    rows = judged(1.5)
    found = fold_scores(task, rows, ("custom_score",))["custom_score"]
    part = np.array([fold == "2" for fold in rows.column("fold")])
    assert found[1] == pytest.approx(security_score(task, rows.y[part], rows.called[part]).value)


def test_folds_are_ordered_by_number_then_by_name(judged):
    rows = judged(1.0, n=6)
    named = replace(rows, columns={"fold": ["10", "b", "2", None, "a", "2"]})
    assert fold_names(named) == ["2", "10", "a", "b"]
