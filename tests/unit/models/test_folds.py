import numpy as np
import pytest

from demur.models._folds import fold_numbers, split_off
from demur.tasks import JAILBREAK, REFUSAL


def rows(n=120, k=3, groups=30, seed=0):
    generator = np.random.default_rng(seed)
    return generator.integers(0, k, n), generator.integers(0, groups, n)


@pytest.mark.parametrize("folds", [2, 5, 10])
def test_no_group_is_in_two_folds(folds):
    y, groups = rows()
    found = fold_numbers(REFUSAL, y, groups, folds, 0)
    assert sorted(set(found)) == list(range(folds))
    assert all(len(set(found[groups == group])) == 1 for group in set(groups))


def test_there_are_never_more_folds_than_groups():
    y, groups = rows(groups=3)
    assert fold_numbers(REFUSAL, y, groups, 10, 0).max() == 2


def test_rows_of_one_class_or_of_one_group_cannot_be_divided():
    y, groups = rows()
    assert fold_numbers(REFUSAL, np.zeros_like(y), groups, 5, 0) is None
    assert fold_numbers(REFUSAL, y, np.zeros_like(groups), 5, 0) is None
    assert split_off(REFUSAL, np.zeros_like(y), groups, 0.5, 0) is None
    assert split_off(REFUSAL, y, np.zeros_like(groups), 0.5, 0) is None


def test_about_the_share_is_split_off_by_whole_groups():
    y, groups = rows(n=400, k=2, groups=100)
    marked = split_off(JAILBREAK, y, groups, 0.4, 0)
    assert 0.35 < marked.mean() < 0.45
    assert not set(groups[marked]) & set(groups[~marked])
    assert abs(y[marked].mean() - y.mean()) < 0.05
