"""Tests of the grouped folds of a classifier's own rows."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from demur.models.classical import grouped_folds


@given(
    groups=st.lists(st.integers(0, 8), min_size=12, max_size=40),
    seed=st.integers(0, 3),
    labels=st.integers(2, 4),
)
def test_folds_part_the_rows_and_train_on_every_class(groups, seed, labels):
    groups = np.array(groups)
    targets = np.arange(len(groups)) % labels
    folds = grouped_folds(groups, targets, 3, seed)
    assert sorted(np.concatenate([test for _, test in folds])) == list(range(len(groups)))
    assert all(len(np.unique(targets[train])) == labels for train, _ in folds)


def test_folds_keep_groups_together_where_that_is_possible():
    groups, targets = np.repeat(np.arange(12), 4), np.tile([0, 1, 2, 0], 12)
    for train, test in grouped_folds(groups, targets, 3, 0):
        assert not set(groups[train]) & set(groups[test])


def test_folds_depend_on_the_seed_alone():
    groups, targets = np.repeat(np.arange(12), 4), np.tile([0, 1, 2, 0], 12)
    first, same, other = (grouped_folds(groups, targets, 3, seed) for seed in (0, 0, 1))
    assert [test.tolist() for _, test in first] == [test.tolist() for _, test in same]
    assert [test.tolist() for _, test in first] != [test.tolist() for _, test in other]


@pytest.mark.parametrize("groups", [np.zeros(12, dtype=int), np.repeat([0, 1], 6), np.arange(12) % 3])
def test_groups_that_are_classes_or_too_few_give_plain_folds(groups):
    targets = np.arange(12) % 3
    folds = grouped_folds(groups, targets, 3, 0)
    assert len(folds) == 3
    assert all(set(targets[train]) == {0, 1, 2} for train, _ in folds)


def test_a_class_of_two_rows_leaves_two_folds():
    assert len(grouped_folds(np.arange(12), np.array([0] * 10 + [1] * 2), 3, 0)) == 2


def test_a_class_of_one_row_leaves_one_fold_of_all_rows():
    ((train, test),) = grouped_folds(np.arange(12), np.array([0] * 11 + [1]), 3, 0)
    assert train.tolist() == test.tolist() == list(range(12))
