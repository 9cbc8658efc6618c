"""First vectors are the encoder's own, centred and turned; checked against scikit-learn's PCA."""

from __future__ import annotations

import numpy as np
import pytest

from demur.errors import ConfigError
from demur.models.neural._vectors import SPREAD, encoder_vectors, project


@pytest.fixture
def folder(make_checkpoint):
    return str(make_checkpoint("bert"))


def test_projection_is_principal_components_scaled():
    from sklearn.decomposition import PCA

    vectors = np.random.default_rng(0).normal(size=(50, 8)) * np.arange(1, 9)
    expected = PCA(3, svd_solver="full").fit_transform(vectors)
    found = project(vectors, 3)
    expected *= np.sign((expected * found).sum(axis=0)) * found.std() / expected.std()
    np.testing.assert_allclose(found, expected, atol=1e-9)
    assert found.std() == pytest.approx(SPREAD)


def test_a_projection_to_all_axes_keeps_the_angles():
    vectors = np.random.default_rng(1).normal(size=(20, 6))
    centred = vectors - vectors.mean(axis=0)
    found = project(vectors, 9)
    assert found.shape == (20, 6)
    ratio = np.linalg.norm(found, axis=1) / np.linalg.norm(centred, axis=1)
    np.testing.assert_allclose(found @ found.T, ratio[0] ** 2 * centred @ centred.T, atol=1e-9)


def test_a_subword_has_the_mean_of_its_pieces(folder):
    texts = ["tea", "bread", "tea bread", "help", "sorry", "word"]
    found = encoder_vectors(texts, folder, 16, 0)
    np.testing.assert_allclose(found[2], (found[0] + found[1]) / 2, atol=1e-6)


def test_words_alike_in_the_encoder_start_alike(folder):
    found = encoder_vectors(["Tea", "tea", "bread"], folder, 8, 0)
    np.testing.assert_array_equal(found[0], found[1])
    assert not np.allclose(found[0], found[2])


def test_what_has_no_text_is_random_by_the_seed(folder):
    one, two, other = (encoder_vectors(["", "tea", "bread"], folder, 8, seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(one, two)
    assert not np.allclose(one[0], other[0])
    np.testing.assert_array_equal(one[1:], other[1:])


def test_more_numbers_than_the_encoder_has_are_random(folder):
    found = encoder_vectors(["tea", "bread", "no"], folder, 24, 0)
    assert found.shape == (3, 24)
    assert found.dtype == np.float32
    assert (found[:, 16:] != 0).all()


def test_nothing_but_unwritable_subwords_is_all_random(folder):
    assert np.isfinite(encoder_vectors(["", ""], folder, 4, 0)).all()


def test_an_encoder_that_is_nowhere_is_named():
    with pytest.raises(ConfigError, match="there is no model folder"):
        encoder_vectors(["tea"], "./gone", 4, 0)
