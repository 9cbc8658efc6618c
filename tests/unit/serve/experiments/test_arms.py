import collections

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import chisquare, kstest

from demur.serve.experiments import assign_arm
from demur.serve.experiments._arms import draw_arm, hash_unit

ARMS = ("champion", "one", "two", "three")
weights_of = st.dictionaries(st.sampled_from(ARMS), st.floats(0.01, 100), min_size=2)
HASH = 0.5249056199306614
SUBJECTS = [f"subject-{number}" for number in range(20_000)]


def assign_all(weights, subjects=SUBJECTS[:3000], experiment="e1", salt="s"):
    return [assign_arm(weights, subject, experiment, salt) for subject in subjects]


@given(weights_of, st.text(), st.text(max_size=20), st.text(max_size=20))
def test_the_same_subject_sees_the_same_arm_however_arms_are_listed(weights, subject, experiment, salt):
    found = assign_arm(weights, subject, experiment, salt)
    assert found in weights
    assert assign_arm(dict(reversed(weights.items())), subject, experiment, salt) == found


@given(weights_of, st.text(), st.floats(0.01, 100))
def test_only_ratios_of_weights_matter(weights, subject, factor):
    scaled = {arm: weight * factor for arm, weight in weights.items()}
    assert assign_arm(scaled, subject, "e", "s") == assign_arm(weights, subject, "e", "s")


@given(weights_of, st.text(), st.data())
def test_subjects_move_only_out_of_arms_that_fell_or_into_arms_that_rose(weights, subject, data):
    changed = {arm: data.draw(st.one_of(st.just(weight), st.floats(0.01, 100))) for arm, weight in weights.items()}
    before, after = assign_arm(weights, subject, "e", "s"), assign_arm(changed, subject, "e", "s")
    assert before == after or changed[before] < weights[before] or changed[after] > weights[after]


@given(weights_of, st.text(), st.sampled_from(ARMS), st.floats(0.01, 100))
def test_a_new_arm_takes_from_the_others_and_moves_nobody_between_them(weights, subject, arm, weight):
    known = {name: one for name, one in weights.items() if name != arm}
    before, after = assign_arm(known, subject, "e", "s"), assign_arm(known | {arm: weight}, subject, "e", "s")
    assert after in (before, arm)


@pytest.mark.parametrize("shares", [(0.5, 0.5), (0.9, 0.1), (0.99, 0.01), (0.2, 0.3, 0.5)])
def test_arms_get_their_shares(shares):
    weights = dict(zip(ARMS, shares, strict=False))
    counts = collections.Counter(assign_all(weights, SUBJECTS))
    assert chisquare([counts[arm] for arm in weights], [share * len(SUBJECTS) for share in shares]).pvalue > 0.001


def test_no_more_subjects_move_than_must_with_two_arms():
    before, after = (assign_all({"champion": 1 - share, "one": share}, SUBJECTS) for share in (0.1, 0.15))
    moved = [pair for pair in zip(before, after, strict=True) if pair[0] != pair[1]]
    assert set(moved) == {("champion", "one")}
    assert len(moved) / len(SUBJECTS) == pytest.approx(0.05, abs=0.006)


def test_experiments_and_salts_assign_independently():
    weights = {"champion": 1.0, "one": 1.0}
    first = np.asarray(assign_all(weights)) == "one"
    for other in (assign_all(weights, experiment="e2"), assign_all(weights, salt="t")):
        assert abs(np.corrcoef(first, np.asarray(other) == "one")[0, 1]) < 0.06


def test_hashes_are_uniform_and_never_0_or_1():
    units = [hash_unit("s", "e", "a", subject) for subject in SUBJECTS]
    assert kstest(units, "uniform").pvalue > 0.001
    assert 0 < min(units) < max(units) < 1


def test_parts_of_the_name_do_not_run_into_each_other():
    assert hash_unit("s", "e", "ab", "c") != hash_unit("s", "e", "a", "bc")


def test_the_assignment_is_the_same_in_every_version():
    """Subjects must stay where they are when the package is updated in the middle of an experiment."""
    assert hash_unit("salt", "experiment", "arm", "subject") == pytest.approx(HASH, abs=1e-15)


def test_requests_without_a_subject_get_arms_by_chance():
    counts = collections.Counter(draw_arm({"champion": 3.0, "one": 1.0}) for _ in range(4000))
    assert chisquare([counts["champion"], counts["one"]], [3000, 1000]).pvalue > 1e-6
