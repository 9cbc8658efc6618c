from dataclasses import replace

import numpy as np
import pytest

from demur.analysis import AnalysisConfig, adjust_holm, compare_pairs
from demur.metrics import compare


@pytest.fixture
def models(judged):
    return {"low": judged(0.5, seed=1), "mid": judged(1.5, seed=2), "high": judged(3.0, seed=3)}


@pytest.fixture
def pairs(models, task, fast):
    return compare_pairs(task, models, "cv", fast)


def test_every_pair_is_tested_in_the_order_of_the_models(pairs):
    assert [(pair.a, pair.b) for pair in pairs] == [("low", "mid"), ("low", "high"), ("mid", "high")]
    assert {(pair.n, pair.groups) for pair in pairs} == {(120, 40)}


def test_a_difference_is_the_very_one_of_the_metrics(models, pairs, task, fast):
    a, b = models["low"], models["high"]
    for metric in fast.metrics:
        options = {"draws": fast.draws, "level": fast.level, "seed": fast.seed}
        expected = compare(task, a.y, a.proba, b.proba, a.groups, metric=metric, **options)
        found = pairs[1].metrics[metric]
        assert (found.a, found.b) == (expected.a, expected.b)
        assert (found.low, found.high) == pytest.approx((expected.difference.low, expected.difference.high))
        assert found.share_a_better == expected.share_a_better


def test_p_values_are_adjusted_over_all_pairs(pairs):
    for metric in ("custom_score", "f1_macro"):
        values = [pair.metrics[metric].p for pair in pairs]
        assert [pair.metrics[metric].p_holm for pair in pairs] == adjust_holm(values)
        over_folds = [pair.metrics[metric].t.p for pair in pairs]
        assert [pair.metrics[metric].t_p_holm for pair in pairs] == adjust_holm(over_folds)
    assert [pair.clustered_p_holm for pair in pairs] == adjust_holm([pair.mcnemar.clustered_p for pair in pairs])


def test_the_order_of_rows_does_not_matter(models, pairs, task, fast):
    order = np.random.default_rng(0).permutation(120)
    shuffled = {name: rows.take(order) if name == "mid" else rows for name, rows in models.items()}
    assert compare_pairs(task, shuffled, "cv", fast) == pairs


def test_models_are_compared_on_the_rows_both_have(models, task, fast):
    models["high"] = models["high"].take(np.arange(60))
    found = {(pair.a, pair.b): pair for pair in compare_pairs(task, models, "cv", fast)}
    assert found["low", "mid"].n == 120
    assert found["low", "high"].n == 60
    assert found["low", "high"].metrics["f1_macro"].p is not None


def test_other_folds_leave_no_test_over_folds(models, task, fast):
    other = models["mid"]
    models["mid"] = replace(other, columns={**other.columns, "fold": ["1", "2"] * 60})
    found = {(pair.a, pair.b): pair.metrics["f1_macro"] for pair in compare_pairs(task, models, "cv", fast)}
    assert found["low", "mid"].t.reason == "the two models were cross-validated on other folds"
    assert found["low", "high"].t.p is not None


def test_only_cross_validation_is_tested_over_folds(models, task, fast):
    assert all(pair.metrics["f1_macro"].t is None for pair in compare_pairs(task, models, "test", fast))


def test_models_that_answer_alike_do_not_differ(judged, task, fast):
    (pair,) = compare_pairs(task, {"a": judged(1.0), "b": judged(1.0)}, "test", fast)
    found = pair.metrics["custom_score"]
    assert (found.difference, found.p, found.standard_error) == (0.0, 1.0, 0.0)
    assert found.reason == "both give the same answers"


def test_rows_with_other_labels_are_not_compared(judged, task, fast):
    other = judged(1.0, rows_seed=9)
    assert compare_pairs(task, {"a": judged(1.0), "b": other}, "test", fast) == []


def test_models_without_shared_rows_are_not_compared(models, task, fast):
    parts = {"a": models["low"].take(np.arange(50)), "b": models["mid"].take(np.arange(60, 120))}
    assert compare_pairs(task, parts, "test", fast) == []


def test_only_the_pairs_asked_for_are_of_the_family(models, task, fast):
    (pair,) = compare_pairs(task, models, "test", fast, [("mid", "high")])
    assert pair.metrics["f1_macro"].p_holm == pair.metrics["f1_macro"].p


def test_without_draws_the_figures_stand_alone(models, task):
    found = compare_pairs(task, models, "test", AnalysisConfig(draws=0))[0].metrics["f1_macro"]
    assert found.difference is not None
    assert (found.low, found.p, found.p_holm) == (None, None, None)
    assert "no bootstrap draws" in found.reason


def test_a_figure_the_rows_do_not_allow_has_a_reason(models, task, fast):
    config = fast.model_copy(update={"metrics": ("recall_at_fpr_0_1", "roc_auc")})
    found = compare_pairs(task, models, "test", config)[0].metrics
    assert found["recall_at_fpr_0_1"].reason == "the rows do not allow this figure"
    assert found["roc_auc"].difference is not None
    assert found["roc_auc"].p is None
