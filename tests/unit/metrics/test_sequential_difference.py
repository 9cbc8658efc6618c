import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from demur.errors import DataError
from demur.metrics import SequentialDifference, SequentialMean, block_sizes

observations = st.lists(st.tuples(st.integers(0, 1), st.integers(0, 1)), max_size=150)
weights_of = st.sampled_from([(0.5, 0.5), (0.9, 0.1), (0.4, 0.6), (0.25, 0.75)])


def blocks_by_hand(taken, sizes):
    """Differences of blocks, from two plain lists."""
    arms = [[value for arm, value in taken if arm == one] for one in (0, 1)]
    count = min(len(arms[0]) // sizes[0], len(arms[1]) // sizes[1])
    first, second = (
        [np.mean(kept[number * size : (number + 1) * size]) for number in range(count)]
        for kept, size in zip(arms, sizes, strict=True)
    )
    return [after - before for before, after in zip(first, second, strict=True)]


@pytest.mark.parametrize(
    ("weights", "sizes"),
    [
        ((0.5, 0.5), (1, 1)),
        ((0.9, 0.1), (9, 1)),
        ((0.1, 0.9), (1, 9)),
        ((0.6, 0.4), (3, 2)),
        ((0.95, 0.05), (20, 1)),
        ((0.01, 0.99), (1, 20)),
        ((3, 1), (3, 1)),
        ((0.51, 0.49), (1, 1)),
    ],
)
def test_blocks_follow_the_weights(weights, sizes):
    assert block_sizes(weights) == sizes


@given(st.floats(0.001, 1), st.floats(0.001, 1))
def test_every_block_is_small_and_counted_without_rounding(first, second):
    sizes = block_sizes((first, second))
    assert all(1 <= size <= 20 and 2520 % size == 0 for size in sizes)
    assert block_sizes((second, first)) == sizes[::-1]


@given(observations, weights_of)
def test_it_is_the_test_of_the_differences_of_blocks(taken, weights):
    test = SequentialDifference(weights)
    test.add_many(taken)
    plain = SequentialMean(0.0, (-1, 1), 5040)
    plain.add_many(blocks_by_hand(taken, block_sizes(weights)))
    found, wanted = test.result(), plain.result()
    assert found.n == wanted.n
    assert [found.low, found.high, found.e_value, found.p_value] == pytest.approx(
        [wanted.low, wanted.high, wanted.e_value, wanted.p_value]
    )


@given(observations, weights_of)
def test_the_order_between_arms_does_not_matter(taken, weights):
    """Only that within each arm: whose turn it was says nothing."""
    mixed, sorted_ = SequentialDifference(weights), SequentialDifference(weights)
    mixed.add_many(taken)
    sorted_.add_many(sorted(taken, key=lambda one: one[0]))
    assert mixed.to_json() == sorted_.to_json()


@given(observations, weights_of, st.integers(0, 150))
def test_going_on_from_a_saved_state_is_exactly_the_same(taken, weights, cut):
    whole, first = SequentialDifference(weights), SequentialDifference(weights)
    whole.add_many(taken)
    first.add_many(taken[:cut])
    second = SequentialDifference.from_json(json.loads(json.dumps(first.to_json())))
    for arm, value in taken[cut:]:
        second.add(arm, value)
    assert second.to_json() == whole.to_json()


@given(observations)
def test_arms_that_change_names_change_the_sign(taken):
    one, other = SequentialDifference(), SequentialDifference()
    one.add_many(taken)
    other.add_many([(1 - arm, value) for arm, value in taken])
    found, mirrored = one.result(), other.result()
    assert (found.low, found.high) == pytest.approx((-mirrored.high, -mirrored.low), abs=1e-6)
    assert found.p_value == pytest.approx(mirrored.p_value)


@given(observations)
def test_means_and_counts_are_those_of_all_observations(taken):
    test = SequentialDifference((0.9, 0.1))
    test.add_many(taken)
    for arm in (0, 1):
        values = [value for one, value in taken if one == arm]
        assert test.counts[arm] == len(values)
        assert test.means[arm] == (pytest.approx(np.mean(values)) if values else None)


@given(st.lists(st.tuples(st.integers(0, 1), st.integers(0, 1)), max_size=100))
def test_concordant_pairs_move_nothing_against_no_difference(pairs):
    every, discordant = SequentialDifference(), SequentialDifference()
    for pair in pairs:
        every.add_pair(*pair)
        if pair[0] != pair[1]:
            discordant.add_pair(*pair)
    assert every.result().e_value == pytest.approx(discordant.result().e_value)
    assert every.result().p_value == pytest.approx(discordant.result().p_value)
    assert every.result().n == len(pairs)


@given(st.lists(st.tuples(st.integers(0, 1), st.integers(0, 1)), max_size=60))
def test_pairs_at_once_are_the_same_as_one_by_one(pairs):
    once, single = SequentialDifference(), SequentialDifference()
    once.add_pairs(pairs)
    for pair in pairs:
        single.add_pair(*pair)
    assert once.to_json() == single.to_json()


def test_pairs_find_what_independent_arms_cannot_see_yet():
    """Two models that err on the same hard requests: their agreement is what pairing takes out."""
    generator = np.random.default_rng(3)
    is_hard = generator.random(1500) < 0.3
    first = np.where(is_hard, generator.random(1500) < 0.5, 1)
    second = np.where(generator.random(1500) < 0.03, 0, first)
    paired, apart = SequentialDifference(), SequentialDifference()
    for one, other in zip(first, second, strict=True):
        paired.add_pair(one, other)
    apart.add_many([(0, one) for one in first] + [(1, other) for other in second[generator.permutation(1500)]])
    assert paired.result().high < 0
    assert paired.result().high - paired.result().low < (apart.result().high - apart.result().low) / 2


def test_clipped_times_are_compared_on_their_grid():
    generator = np.random.default_rng(5)
    test = SequentialDifference((0.75, 0.25), span=(0, 200), steps=100)
    times = [(int(arm), min(200.0, generator.exponential(40 + 25 * arm))) for arm in generator.random(4000) < 0.25]
    test.add_many(times)
    found = test.result()
    assert 0 < found.low < 25 < found.high
    assert test.means[1] == pytest.approx(np.mean([value for arm, value in times if arm]), abs=1)


def test_an_arm_that_is_ahead_waits_without_growing():
    test = SequentialDifference()
    test.add_many([(0, 1)] * 3000)
    assert test.waiting == (1000, 0)
    assert test.counts == [3000, 0]
    test.add(1, 0)
    assert test.waiting == (999, 0)
    assert test.result().n == 1


def test_other_weights_make_other_blocks_from_then_on():
    test = SequentialDifference((0.5, 0.5))
    test.add_many([(0, 1), (1, 1)])
    assert test.result().n == 1
    test.set_weights((0.8, 0.2))
    test.add_many([(0, 1)] * 3 + [(1, 1)])
    assert test.result().n == 1
    test.add(0, 1)
    assert test.result().n == 2


@pytest.mark.parametrize(("weights", "rate"), [((0.5, 0.5), 0.01), ((0.9, 0.1), 0.5)])
def test_two_equal_arms_are_rarely_told_apart_however_often_one_looks(weights, rate):
    """40 runs of 1,000 observations in random order, with a base rate that drifts; the benchmark has 2,000."""
    generator = np.random.default_rng(13)
    rejected = 0
    for _ in range(40):
        arms = generator.random(1000) < weights[1]
        rates = np.where(np.arange(1000) < 500, rate, rate * 1.5)
        test = SequentialDifference(weights)
        test.add_many(zip(arms.astype(int).tolist(), (generator.random(1000) < rates).tolist(), strict=True))
        rejected += test.result().is_rejected
    assert rejected <= 3


def test_a_drop_of_five_points_is_found():
    generator = np.random.default_rng(17)
    found_at = []
    for _ in range(20):
        test, n = SequentialDifference(), 0
        while n < 5000 and not test.result().is_rejected:
            values = generator.random((200, 2)) < (0.9, 0.85)
            test.add_many((arm, value) for pair in values.tolist() for arm, value in enumerate(pair))
            n += 200
        found_at.append(n if test.result().is_rejected else np.inf)
    assert np.mean(np.isfinite(found_at)) >= 0.95
    assert np.median(found_at) <= 1500


def test_bad_observations_are_refused():
    test = SequentialDifference()
    with pytest.raises(DataError, match="no arm 2; give 0 or 1"):
        test.add(2, 1)
    with pytest.raises(DataError, match=r"an observation of 1.5 is outside 0.0 to 1.0"):
        test.add_many([(0, 1), (1, 1.5)])
    with pytest.raises(DataError, match="is outside"):
        test.add_pair(0, float("nan"))
    assert test.counts == [0, 0]


def test_an_arm_without_traffic_is_refused():
    with pytest.raises(DataError, match="an arm without traffic cannot be compared"):
        SequentialDifference((1.0, 0.0))


def test_a_foreign_state_is_refused():
    with pytest.raises(DataError, match="no state of a sequential test"):
        SequentialDifference.from_json({"span": [0, 1], "steps": 1})
