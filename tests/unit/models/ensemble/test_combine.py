import json
from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.ensemble import VotingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.preprocessing import LabelEncoder

from demur.metrics import security_score
from demur.models.ensemble._combine import (
    Stack,
    fit_stack,
    mix,
    simplex_lattice,
    stack_columns,
    vote_hard,
    vote_soft,
    weigh_by_loss,
    weigh_by_score,
)
from demur.tasks import JAILBREAK, PROMPT_RISK


def sample(seed=0, members=3, n=300, k=3, skill=(3.0, 1.5, 0.0)):
    """Members that see the truth through noise of their own."""
    generator = np.random.default_rng(seed)
    y = generator.integers(0, k, n)
    logits = generator.normal(size=(members, n, k))
    for member in range(members):
        logits[member, np.arange(n), y] += skill[member % len(skill)]
    inside = np.exp(logits)
    return y, inside / inside.sum(axis=2, keepdims=True)


class Fixed:
    """A fitted scikit-learn classifier that gives one member's rows."""

    def __init__(self, probabilities):
        self.probabilities = probabilities

    def predict_proba(self, rows):
        return self.probabilities[rows]

    def predict(self, rows):
        return self.probabilities[rows].argmax(axis=1)


def voting(kind, probabilities):
    fixed = [(str(number), Fixed(given)) for number, given in enumerate(probabilities)]
    found = VotingClassifier(fixed, voting=kind)
    found.estimators_, found.le_ = [one for _, one in fixed], LabelEncoder().fit([0, 1, 2])
    found.classes_ = found.le_.classes_
    return found


def test_soft_votes_are_those_of_scikit_learn():
    _, p = sample()
    np.testing.assert_allclose(vote_soft(p), voting("soft", p).predict_proba(np.arange(300)))


def test_hard_votes_are_those_of_scikit_learn_where_there_is_a_majority():
    _, p = sample(n=2000)
    votes = np.eye(3)[p.argmax(axis=2)].sum(axis=0)
    clear = votes.max(axis=1) >= 2
    wanted = voting("hard", p).predict(np.arange(2000))
    np.testing.assert_array_equal(vote_hard(p).argmax(axis=1)[clear], wanted[clear])
    np.testing.assert_allclose(vote_hard(p).sum(axis=1), 1)


def test_a_tie_of_votes_goes_to_the_higher_mean():
    p = np.array([[[0.55, 0.45]], [[0.05, 0.95]]])
    assert vote_hard(p).argmax(axis=1).tolist() == [1]
    assert vote_hard(p)[0].tolist() == pytest.approx([1.3 / 3, 1.7 / 3])


@given(st.integers(0, 3000), st.integers(2, 7))
def test_no_mean_overturns_a_majority(seed, members):
    p = np.random.default_rng(seed).dirichlet(np.full(3, 0.3), size=(members, 30))
    votes = np.eye(3)[p.argmax(axis=2)].sum(axis=0)
    clear = np.sort(votes, axis=1)[:, -1] > np.sort(votes, axis=1)[:, -2]
    np.testing.assert_array_equal(vote_hard(p).argmax(axis=1)[clear], votes.argmax(axis=1)[clear])


@pytest.mark.parametrize("seed", range(4))
def test_weights_lose_least_of_all_on_the_simplex(seed):
    """Against a fine grid of three members' weights."""
    y, p = sample(seed, skill=(2.0, 1.5, 1.0))
    found = weigh_by_loss(y, p)
    grid = [(a, b, 1 - a - b) for a, b in product(np.linspace(0, 1, 51), repeat=2) if a + b <= 1 + 1e-9]
    given_true = p[:, np.arange(len(y)), y]
    best = min(-np.log(np.clip(weights, 0, 1) @ given_true).mean() for weights in grid)
    assert log_loss(y, mix(found, p), labels=[0, 1, 2]) <= best + 1e-9
    assert found.sum() == pytest.approx(1)
    assert (found >= 0).all()


def test_a_member_that_knows_nothing_gets_hardly_any_weight():
    y, p = sample(n=3000, skill=(2.0, 2.0, 0.0))
    found = weigh_by_loss(y, p)
    assert found[0] == pytest.approx(found[1], abs=0.1)
    assert found[2] < 0.05


def test_members_alike_share_their_weight_without_loss():
    y, p = sample(members=1)
    np.testing.assert_allclose(mix(weigh_by_loss(y, np.concatenate([p, p])), np.concatenate([p, p])), p[0])


@pytest.mark.parametrize("task", [PROMPT_RISK, JAILBREAK])
def test_weights_by_score_are_the_best_of_the_lattice(task):
    y, p = sample(1, n=150, k=len(task.labels))
    found = weigh_by_score(task, y, p)

    def score(weights):
        return security_score(task, y, mix(weights, p).argmax(axis=1)).value

    assert score(found) == pytest.approx(max(map(score, simplex_lattice(3))))
    assert score(found) >= max(map(score, np.eye(3))) - 1e-12


def test_of_equal_scores_the_most_even_weights_are_taken():
    y = np.array([0, 1, 0, 1])
    p = np.stack([np.eye(2)[y] * 0.8 + 0.1] * 3)
    assert weigh_by_score(JAILBREAK, y, p).tolist() == pytest.approx([1 / 3] * 3)


def test_weights_by_score_do_without_a_class():
    y, p = sample(2, n=80)
    y[y == 2] = 0
    assert weigh_by_score(PROMPT_RISK, y, p).sum() == pytest.approx(1)


@pytest.mark.parametrize("members", [2, 3, 5, 8, 20])
def test_the_lattice_is_on_the_simplex_and_not_too_large(members):
    found = simplex_lattice(members)
    np.testing.assert_allclose(found.sum(axis=1), 1)
    assert (found >= 0).all()
    assert members + 1 <= len(found) <= 2001
    assert all((found == corner).all(axis=1).any() for corner in np.eye(members))
    assert np.isclose(found, 1 / members).all(axis=1).any()


@pytest.mark.parametrize("k", [2, 3])
@pytest.mark.parametrize("balanced", [True, False])
def test_the_stack_is_scikit_learns_regression(k, balanced):
    y, p = sample(k=k)
    found = fit_stack(y, p, 0.7, balanced)
    weight = "balanced" if balanced else None
    wanted = LogisticRegression(C=0.7, class_weight=weight, max_iter=5000, tol=1e-8).fit(stack_columns(p), y)
    _, new = sample(5, k=k)
    np.testing.assert_allclose(found.apply(new), wanted.predict_proba(stack_columns(new)), atol=1e-12)


def test_columns_of_members_stand_side_by_side():
    p = np.arange(2 * 3 * 2, dtype=float).reshape(2, 3, 2)
    assert stack_columns(p).tolist() == [[0, 1, 6, 7], [2, 3, 8, 9], [4, 5, 10, 11]]


def test_a_stack_learns_whom_to_trust_for_what():
    """One member knows class 0, the other class 2; each alone is wrong on the rest."""
    generator = np.random.default_rng(0)
    y = generator.integers(0, 3, 900)
    first = np.where((y == 0)[:, None], [0.8, 0.1, 0.1], [0.1, 0.45, 0.45])
    second = np.where((y == 2)[:, None], [0.1, 0.1, 0.8], [0.45, 0.45, 0.1])
    p = np.stack([first, second]) + generator.random((2, 900, 3)) * 0.05
    p /= p.sum(axis=2, keepdims=True)
    found = fit_stack(y[:450], p[:, :450], 10.0, True).apply(p[:, 450:])
    assert (found.argmax(axis=1) == y[450:]).mean() > 0.99
    assert max((one[450:].argmax(axis=1) == y[450:]).mean() for one in p) < 0.8


def test_a_class_without_a_row_gets_no_probability():
    y, p = sample()
    kept = y != 1
    found = fit_stack(y[kept], p[:, kept], 1.0, True).apply(p)
    assert (found[:, 1] == 0).all()
    np.testing.assert_allclose(found.sum(axis=1), 1)


def test_a_stack_survives_json_exactly():
    y, p = sample()
    found = fit_stack(y, p, 1.0, False)
    again = Stack.from_json(json.loads(json.dumps(found.to_json())))
    np.testing.assert_array_equal(again.apply(p), found.apply(p))
