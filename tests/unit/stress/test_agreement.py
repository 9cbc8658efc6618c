import numpy as np
import pytest
from sklearn.metrics import cohen_kappa_score

from demur.stress._agreement import agree, join_agreements


def test_kappa_is_scikit_learns():
    generator = np.random.default_rng(0)
    first, second = (generator.choice(["a", "b", "c"], 60).tolist() for _ in range(2))
    (found,) = agree({"x": first, "y": second})
    assert found.kappa == pytest.approx(cohen_kappa_score(first, second))
    assert found.raw == pytest.approx(np.mean([a == b for a, b in zip(first, second, strict=True)]))
    assert found.n == 60


def test_rows_that_one_could_not_judge_are_left_out():
    (found,) = agree({"x": ["a", "unscored", "b"], "y": ["a", "a", "unscored"]})
    assert (found.raw, found.n) == (1.0, 1)


def test_where_all_say_the_same_kappa_is_none():
    assert agree({"x": ["a", "a"], "y": ["a", "a"]})[0].kappa is None


def test_every_pair_is_compared():
    found = agree({name: ["a", "b"] for name in "xyz"})
    assert [one.judges for one in found] == [("x", "y"), ("x", "z"), ("y", "z")]
    assert found[0].to_json()["judges"] == ["x", "y"]


def test_nothing_in_common_is_no_agreement():
    (found,) = agree({"x": ["unscored"], "y": ["a"]})
    assert (found.kappa, found.raw, found.n) == (None, None, 0)


def test_parts_joined_are_as_if_all_had_been_judged_at_once():
    generator = np.random.default_rng(1)
    first, second = (generator.choice(["a", "b", "unscored"], 80).tolist() for _ in range(2))
    # In the last part both say the same of all: no kappa of its own, and it counts all the same.
    first, second = [*first, *["a"] * 40], [*second, *["a"] * 40]
    bounds = [slice(0, 30), slice(30, 80), slice(80, None)]
    parts = [agree({"x": first[one], "y": second[one]})[0].to_json() for one in bounds]
    assert parts[2]["kappa"] is None
    assert join_agreements(parts) == agree({"x": first, "y": second})


def test_no_parts_join_to_nothing():
    assert join_agreements([]) == []
