"""Tests of the boosters: the libraries' own results, rounds in parts, formats that run no code."""

import lightgbm
import numpy as np
import pytest
import scipy.sparse as sp
import xgboost

from demur.errors import ArtifactError
from demur.models.classical import ClassicalConfig
from demur.models.classical._boost import LightgbmHead, XgboostHead

DRAW = np.random.default_rng(0)
ROWS = sp.csr_matrix(np.maximum(DRAW.normal(size=(120, 8)), 0).astype(np.float32))
TARGETS = (ROWS.toarray()[:, 0] > 0.4).astype(np.int64) + (ROWS.toarray()[:, 1] > 0.8)
WEIGHTS = np.where(TARGETS == 2, 3.0, 1.0)
every_head = pytest.mark.parametrize("kind", [XgboostHead, LightgbmHead])


def new(kind, seed=3, **settings):
    name = "xgboost" if kind is XgboostHead else "lightgbm"
    return kind(ClassicalConfig(head=name, **{"trees": 12, "threads": 1} | settings), seed)


def test_all_rounds_at_once_are_those_of_xgboost():
    own = xgboost.XGBClassifier(
        n_estimators=12,
        learning_rate=0.1,
        max_depth=5,
        subsample=0.8,
        colsample_bytree=0.5,
        tree_method="hist",
        n_jobs=1,
        random_state=3,
    ).fit(ROWS, TARGETS, sample_weight=WEIGHTS)
    found = new(XgboostHead).fit(ROWS, TARGETS, WEIGHTS)
    np.testing.assert_array_equal(found.predict_proba(ROWS), own.predict_proba(ROWS))
    np.testing.assert_array_equal(found.feature_importances_, own.feature_importances_)


def test_all_rounds_at_once_are_those_of_lightgbm():
    own = lightgbm.LGBMClassifier(
        n_estimators=12,
        learning_rate=0.1,
        max_depth=5,
        num_leaves=31,
        min_child_samples=5,
        subsample=0.8,
        subsample_freq=1,
        colsample_bytree=0.5,
        n_jobs=1,
        random_state=3,
        deterministic=True,
        force_col_wise=True,
        verbosity=-1,
        importance_type="gain",
    ).fit(ROWS, TARGETS, sample_weight=WEIGHTS)
    found = new(LightgbmHead).fit(ROWS, TARGETS, WEIGHTS)
    np.testing.assert_allclose(found.predict_proba(ROWS), own.booster_.predict(ROWS), atol=1e-12)
    np.testing.assert_allclose(
        found.feature_importances_, own.feature_importances_ / sum(own.feature_importances_)
    )


@every_head
def test_rounds_in_parts_go_on_from_those_there_are(kind):
    head = new(kind).add_rounds(ROWS, TARGETS, None, 4)
    first = head.predict_proba(ROWS)
    error = [-np.log(first[np.arange(120), TARGETS]).mean()]
    for _ in range(3):
        head.add_rounds(ROWS, TARGETS, None, 4)
        error.append(-np.log(head.predict_proba(ROWS)[np.arange(120), TARGETS]).mean())
    assert error == sorted(error, reverse=True)
    assert error[-1] < 0.8 * error[0]


@every_head
def test_weights_of_a_later_part_count_from_there(kind):
    plain, heavy = (
        new(kind).add_rounds(ROWS, TARGETS, None, 6).add_rounds(ROWS, TARGETS, weights, 6).predict_proba(ROWS)
        for weights in (None, np.where(TARGETS == 2, 20.0, 1.0))
    )
    assert heavy[:, 2].mean() > 1.2 * plain[:, 2].mean()


@every_head
def test_the_seed_decides_and_threads_do_not(kind):
    one, two, other = (
        new(kind, seed, threads=threads).fit(ROWS, TARGETS).predict_proba(ROWS)
        for seed, threads in ((3, 1), (3, 2), (4, 1))
    )
    np.testing.assert_allclose(one, two, atol=1e-6)
    assert np.abs(one - other).max() > 1e-3


@every_head
@pytest.mark.parametrize("classes", [2, 3])
def test_what_is_written_is_read_back(kind, classes, tmp_path):
    head = new(kind).fit(ROWS, np.minimum(TARGETS, classes - 1))
    head.write(tmp_path)
    again = new(kind).read(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [kind.file]
    assert head.predict_proba(ROWS).shape == (120, classes)
    np.testing.assert_array_equal(again.predict_proba(ROWS), head.predict_proba(ROWS))
    np.testing.assert_allclose(again.feature_importances_, head.feature_importances_, atol=1e-6)


def test_a_damaged_lightgbm_model_is_refused(tmp_path):
    (tmp_path / LightgbmHead.file).write_text("tree\nnothing here\n")
    with pytest.raises(ArtifactError, match=r"booster\.txt is no LightGBM model .*train again"):
        new(LightgbmHead).read(tmp_path)
