import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import cohen_kappa_score, log_loss, matthews_corrcoef
from statsmodels.stats.inter_rater import fleiss_kappa

from demur.metrics import Bootstrap
from demur.models.ensemble import measure_diversity
from demur.models.ensemble._diversity import PAIRWISE, interrater_kappa, pair_figures

FEW = Bootstrap(draws=50)


def sample(seed=0, members=3, n=200, alike=0.0):
    """Members right two times in three; ``alike``: how often one copies the first."""
    generator = np.random.default_rng(seed)
    y = generator.integers(0, 3, n)
    p = generator.dirichlet(np.ones(3), size=(members, n))
    told = np.where(generator.random((members, n)) < 0.66, y, (y + 1) % 3)
    copied = generator.random((members, n)) < alike
    told = np.where(copied, told[0], told)
    p = 0.2 * p + 0.8 * np.eye(3)[told]
    return y, p / p.sum(axis=2, keepdims=True), generator.integers(0, 40, n)


def measure(y, p, groups, intervals=FEW):
    _, groups = np.unique(groups, return_inverse=True)
    return measure_diversity([f"m{number}" for number in range(len(p))], y, p, groups, intervals)


@given(st.integers(0, 3000))
def test_pairs_are_measured_as_by_others(seed):
    y, p, groups = sample(seed, members=2)
    (found,) = measure(y, p, groups, Bootstrap(draws=0))["pairs"]
    a, b = p.argmax(axis=2) == y
    assert found["correlation"]["value"] == pytest.approx(matthews_corrcoef(a, b))
    assert found["kappa"]["value"] == pytest.approx(cohen_kappa_score(a, b))
    assert found["disagreement"]["value"] == pytest.approx((a != b).mean())
    assert found["double_fault"]["value"] == pytest.approx((~a & ~b).mean())
    odds = (a & b).sum() * (~a & ~b).sum(), (a & ~b).sum() * (~a & b).sum()
    assert found["q"]["value"] == pytest.approx((odds[0] - odds[1]) / (odds[0] + odds[1]))


@given(st.integers(0, 3000), st.integers(2, 6))
def test_agreement_of_all_is_fleiss_kappa_of_being_right(seed, members):
    y, p, groups = sample(seed, members=members)
    right = (p.argmax(axis=2) == y).sum(axis=0)
    wanted = fleiss_kappa(np.column_stack([right, members - right]), method="fleiss")
    assert measure(y, p, groups, Bootstrap(draws=0))["kappa_of_all"]["value"] == pytest.approx(wanted)


def test_the_example_of_kuncheva_and_whitaker_by_hand():
    """10 rows: 4 both right, 3 the first alone, 2 the second alone, 1 neither."""
    found = pair_figures(np.array([4.0, 3.0, 2.0, 1.0]))
    assert float(found["q"]) == pytest.approx((4 - 6) / (4 + 6))
    assert float(found["disagreement"]) == 0.5
    assert float(found["double_fault"]) == pytest.approx(0.1)
    assert float(found["correlation"]) == pytest.approx(-2 / np.sqrt(7 * 3 * 6 * 4))
    assert float(found["kappa"]) == pytest.approx(-4 / (7 * 4 + 6 * 3))


def test_members_that_always_agree_are_not_diverse():
    y, p, groups = sample(members=1)
    found = measure(y, np.concatenate([p, p, p]), groups)["mean"]
    assert (found["disagreement"]["value"], found["kappa"]["value"], found["q"]["value"]) == (0, 1, 1)


def test_copying_makes_members_alike():
    rare, often = (measure(*sample(alike=share, n=2000))["mean"] for share in (0.1, 0.7))
    assert rare["disagreement"]["value"] > often["disagreement"]["value"]
    for name in ("q", "correlation", "kappa", "double_fault"):
        assert rare[name]["value"] < often[name]["value"]


def test_members_without_an_error_have_what_is_defined_and_null():
    y = np.array([0, 1, 2, 0])
    p = np.stack([np.eye(3)[y]] * 2)
    found = measure(y, p, np.arange(4))
    assert found["mean"]["disagreement"]["value"] == 0
    assert found["mean"]["q"]["value"] is None
    assert found["kappa_of_all"]["value"] is None
    json.dumps(found, allow_nan=False)


def test_each_member_is_described():
    y, p, groups = sample()
    found = measure(y, p, groups)
    for member, shown in zip(found["members"], p, strict=True):
        assert member["accuracy"]["value"] == pytest.approx((shown.argmax(axis=1) == y).mean())
        assert member["log_loss"]["value"] == pytest.approx(log_loss(y, shown, labels=[0, 1, 2]))
        assert member["accuracy"]["low"] < member["accuracy"]["value"] < member["accuracy"]["high"]
    assert (found["n"], found["groups"]) == (200, len(set(groups)))
    assert [(pair["a"], pair["b"]) for pair in found["pairs"]] == [("m0", "m1"), ("m0", "m2"), ("m1", "m2")]


def test_means_are_those_of_the_pairs_and_lie_in_their_intervals():
    found = measure(*sample(), intervals=Bootstrap(draws=300))
    for name in PAIRWISE:
        values = [pair[name]["value"] for pair in found["pairs"]]
        mean = found["mean"][name]
        assert mean["value"] == pytest.approx(np.mean(values))
        assert mean["low"] < mean["value"] < mean["high"]


def test_intervals_are_those_of_whole_groups():
    y, p, _ = sample(n=200)
    y, p = np.repeat(y, 4), np.repeat(p, 4, axis=1)
    alone, grouped = (measure(y, p, groups)["mean"] for groups in (np.arange(800), np.repeat(np.arange(200), 4)))
    width = [found["disagreement"]["high"] - found["disagreement"]["low"] for found in (alone, grouped)]
    assert width[1] > 1.5 * width[0]


def test_agreement_is_undefined_where_nobody_errs():
    assert np.isnan(interrater_kappa(np.array([10.0, 20.0, 0.0]), 2))
