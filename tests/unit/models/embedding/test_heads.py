"""Prototype and nearest-neighbour heads against plain versions of them and scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import softmax
from sklearn.metrics import log_loss
from sklearn.neighbors import KNeighborsClassifier, NearestCentroid

from demur.models.embedding import EmbeddingConfig
from demur.models.embedding._heads import (
    HeadRows,
    NeighbourHead,
    PrototypeHead,
    fit_head,
    pack_head,
    unpack_head,
)

OWN = ("prototype", "knn")


@pytest.fixture(scope="module")
def rows():
    """60 rows around three directions, unevenly many of each, in groups of two."""
    random = np.random.default_rng(0)
    classes = np.repeat([0, 1, 2], [36, 18, 6])
    matrix = np.eye(3, 5)[classes] + 0.35 * random.normal(size=(60, 5))
    return HeadRows(matrix, classes.astype(np.int64), np.arange(60) // 2)


def config(head, **changes):
    return EmbeddingConfig(head=head, **changes)


def unit(matrix):
    return matrix / np.linalg.norm(matrix, axis=1, keepdims=True)


@pytest.mark.parametrize("head", ["logreg", "svc", *OWN])
def test_every_head_tells_the_classes_apart_and_gives_probabilities(rows, head):
    found = fit_head(config(head), 0, rows).predict_proba(rows.matrix)
    np.testing.assert_allclose(found.sum(axis=1), 1)
    assert (found.argmax(axis=1) == rows.classes).mean() > 0.9


@pytest.mark.parametrize("head", ["logreg", *OWN])
def test_a_head_comes_back_as_it_was(rows, head):
    fitted = fit_head(config(head), 0, rows)
    again = unpack_head(config(head), pack_head(fitted))
    np.testing.assert_array_equal(again.predict_proba(rows.matrix), fitted.predict_proba(rows.matrix))


def test_without_shrinkage_prototypes_are_the_nearest_centroids(rows):
    head = fit_head(config("prototype", shrinkage=0), 0, rows)
    assert isinstance(head, PrototypeHead)
    expected = NearestCentroid().fit(unit(rows.matrix), rows.classes)
    np.testing.assert_allclose(head.means, expected.centroids_)
    asked = np.random.default_rng(1).normal(size=(40, 5))
    np.testing.assert_array_equal(head.predict_proba(asked).argmax(axis=1), expected.predict(unit(asked)))


def test_shrinkage_counts_as_rows_at_the_centre(rows):
    head = fit_head(config("prototype", shrinkage=3), 0, rows)
    means = np.stack([unit(rows.matrix)[rows.classes == number].mean(axis=0) for number in range(3)])
    counts = np.array([[36], [18], [6]])
    np.testing.assert_allclose(head.means, (counts * means + 3 * means.mean(axis=0)) / (counts + 3))


def test_probabilities_are_the_softmax_of_squared_distances(rows):
    head = fit_head(config("prototype"), 0, rows)
    distances = np.square(unit(rows.matrix)[:, None] - head.means).sum(axis=2)
    np.testing.assert_allclose(
        head.predict_proba(rows.matrix), softmax(-head.sharpness * distances, axis=1), atol=1e-9
    )


def test_sharpness_is_the_likeliest_on_groups_left_out(rows):
    settings = config("prototype", balanced=False)
    head = fit_head(settings, 0, rows)
    logits = np.empty((60, 3))
    for group in range(30):
        own = rows.groups == group
        others = HeadRows(rows.matrix[~own], rows.classes[~own], rows.groups[~own])
        means = fit_head(settings, 0, others).means
        logits[own] = -np.square(unit(rows.matrix[own])[:, None] - means).sum(axis=2)
    tried = np.exp(np.linspace(0, 5, 251))
    losses = [log_loss(rows.classes, softmax(sharpness * logits, axis=1)) for sharpness in tried]
    assert head.sharpness == pytest.approx(tried[np.argmin(losses)], rel=0.03)


def test_a_group_that_holds_a_whole_class_is_judged_from_the_centre():
    rows = HeadRows(np.eye(3), np.array([0, 1, 2]), np.array([0, 1, 2]))
    found = fit_head(config("prototype", shrinkage=0), 0, rows).predict_proba(np.eye(3))
    np.testing.assert_allclose(found.sum(axis=1), 1)


def test_equal_votes_are_those_of_sklearn_s_neighbours(rows):
    head = NeighbourHead(
        unit(rows.matrix).astype(np.float32), rows.classes, np.ones(60), neighbours=7, decay=0.0, prior=0.0
    )
    plain = KNeighborsClassifier(7, metric="cosine").fit(rows.matrix, rows.classes)
    asked = np.random.default_rng(2).normal(size=(50, 5))
    np.testing.assert_allclose(head.predict_proba(asked), plain.predict_proba(asked), atol=1e-12)


def test_votes_fade_with_distance_and_the_prior_shares_the_rest(rows):
    head = NeighbourHead(unit(rows.matrix).astype(np.float32), rows.classes, np.ones(60), 60, 4.0, 0.3)
    plain = KNeighborsClassifier(60, metric="cosine", weights=lambda far: np.exp(-4.0 * far))
    shares = plain.fit(rows.matrix, rows.classes).predict_proba(rows.matrix)
    total = np.exp(-4.0 * (1 - unit(rows.matrix) @ unit(rows.matrix).T)).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(head.predict_proba(rows.matrix), (shares * total + 0.1) / (total + 0.3), atol=1e-6)


def test_neighbours_of_the_own_group_do_not_choose_decay_and_prior():
    random = np.random.default_rng(3)
    once = random.normal(size=(40, 5))
    matrix, classes = np.repeat(once, 2, axis=0), np.repeat(random.integers(0, 2, 40), 2)
    apart = fit_head(config("knn"), 0, HeadRows(matrix, classes, np.arange(80)))
    together = fit_head(config("knn"), 0, HeadRows(matrix, classes, np.arange(80) // 2))
    asked = random.normal(size=(200, 5))
    # Labels are noise: judged by other groups, the head learns that its neighbours say little.
    doubts = [head.predict_proba(asked).max(axis=1).mean() for head in (apart, together)]
    assert doubts[1] < doubts[0]


def test_a_row_far_from_all_others_gets_even_odds():
    near = NeighbourHead(np.eye(2, 3, dtype=np.float32), np.array([0, 1]), np.ones(2), 2, 30.0, 0.1)
    np.testing.assert_allclose(near.predict_proba([[0.0, 0.0, -1.0]]), [[0.5, 0.5]], atol=1e-9)


def test_of_equal_rows_the_first_are_neighbours_whatever_else_is_asked():
    rows = np.tile(unit(np.ones((1, 7))), (9, 1)).astype(np.float32)
    head = NeighbourHead(rows, np.array([0, 0, 1] * 3), np.ones(9), 2, 1.0, 0.0)
    asked = np.random.default_rng(4).normal(size=(33, 7))
    np.testing.assert_allclose(head.predict_proba(asked)[:, 0], 1)


@pytest.mark.parametrize("head", OWN)
def test_balance_lifts_the_rare_class(rows, head):
    found = [
        fit_head(config(head, balanced=balanced), 0, rows).predict_proba(rows.matrix)[:, 2].mean()
        for balanced in (False, True)
    ]
    assert found[1] >= found[0] - (1e-3 if head == "prototype" else 0)


def test_fewer_rows_than_neighbours_are_all_asked():
    rows = HeadRows(np.eye(2, 3), np.array([0, 1]), np.array([0, 1]))
    head = fit_head(config("knn", neighbours=15), 0, rows)
    assert head.neighbours == 2
    np.testing.assert_allclose(head.predict_proba(np.eye(2, 3)).sum(axis=1), 1)
