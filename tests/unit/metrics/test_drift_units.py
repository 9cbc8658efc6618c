import numpy as np

from demur.metrics import find_bursts, pick_one_of_each


def vectors(*places):
    rows = np.eye(6)[list(places)]
    return rows + 0.01 * np.random.default_rng(0).normal(size=rows.shape)


def test_near_duplicates_close_in_time_are_one_burst():
    found = find_bursts(vectors(0, 0, 1, 0), [0, 10, 11, 30], within_s=25)
    assert found[0] == found[1] == found[3]
    assert found[2] != found[0]


def test_the_same_text_much_later_is_another_row():
    found = find_bursts(vectors(0, 0), [0, 100], within_s=60)
    assert found[0] != found[1]


def test_a_burst_may_last_longer_than_the_gap():
    assert len(set(find_bursts(vectors(*[2] * 10), np.arange(10) * 50.0, within_s=60).tolist())) == 1


def test_the_order_of_rows_does_not_matter():
    rows, times = vectors(0, 1, 0, 1, 2), np.array([0.0, 1, 2, 3, 4])
    order = np.array([3, 0, 4, 2, 1])
    found, shuffled = find_bursts(rows, times), find_bursts(rows[order], times[order])
    same = found[:, None] == found
    assert (same[np.ix_(order, order)] == (shuffled[:, None] == shuffled)).all()


def test_rows_of_zeros_are_like_nothing():
    assert len(set(find_bursts(np.zeros((4, 3)), [0, 0, 0, 0]).tolist())) == 4


def test_no_rows_are_no_bursts():
    assert find_bursts(np.empty((0, 3)), []).tolist() == []


def test_one_row_of_each_group_is_picked():
    groups = np.array([0, 0, 1, 1, 1, 2])
    found = pick_one_of_each(groups, seed=1)
    assert sorted(groups[found].tolist()) == [0, 1, 2]
    assert found.tolist() == sorted(found.tolist())


def test_rows_without_a_group_all_stay():
    assert pick_one_of_each([None, None, "a", "a"]).tolist()[:2] == [0, 1]
    assert len(pick_one_of_each([None, None, "a", "a"])) == 3


def test_every_row_of_a_group_has_the_same_chance():
    picks = [int(pick_one_of_each([7] * 4, seed=seed)[0]) for seed in range(800)]
    assert np.bincount(picks, minlength=4).min() > 150
