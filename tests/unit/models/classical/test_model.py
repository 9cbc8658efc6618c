"""Tests of the classical classifier: chosen terms, telling features, balance, saving."""

import numpy as np
import pytest

import demur
from demur.data import Records
from demur.models.classical import ClassicalClassifier, ClassicalConfig
from demur.models.classical._config import ADAPTIVE, TREES
from demur.tasks import JAILBREAK, REFUSAL

HEADS = ["logreg", "svm", "svc", "nb", "forest", "xgboost", "lightgbm"]


def fit(labelled, task=REFUSAL, **settings):
    settings = {"trees": 8, "threads": 1, "min_df": 1} | settings
    return ClassicalClassifier(task, ClassicalConfig(**settings)).fit(labelled(task))


@pytest.mark.parametrize("head", HEADS)
def test_what_says_it_is_not_seeded_has_one_answer(labelled, head):
    config = ClassicalConfig(head=head, trees=8, threads=1, min_df=1)
    models = [ClassicalClassifier(REFUSAL, config, seed).fit(labelled(REFUSAL)) for seed in (1, 2)]
    assert models[0].is_seeded == (head not in ("logreg", "nb"))
    if not models[0].is_seeded:
        first, second = (model.predict_proba(labelled(REFUSAL)) for model in models)
        assert np.array_equal(first, second)


def test_adaptive_weights_depend_on_the_seed_that_draws_the_watched_rows():
    assert ClassicalClassifier(REFUSAL, ClassicalConfig(head="logreg", balance="adaptive")).is_seeded


@pytest.mark.parametrize("head", HEADS)
def test_telling_features_are_the_words_of_the_class(labelled, head):
    found = fit(labelled, head=head).top_features(12)
    if head == "svc":
        assert found is None
        return
    if head in TREES:
        assert list(found) == ["all labels"]
        return
    assert list(found) == list(REFUSAL.labels)
    own = {
        "no_refusal": ("river", "stone", "bridge", "boat"),
        "hard_refusal": ("clock", "wheel", "spring", "gear"),
    }
    for label, words in own.items():
        assert any(f"response: word '{word}'" == name for name, _ in found[label] for word in words)
        weights = [weight for _, weight in found[label]]
        assert len(weights) == 12
        assert weights == sorted(weights, reverse=True)


@pytest.mark.parametrize("head", ["logreg", "svm", "nb"])
def test_with_two_classes_both_have_their_features(labelled, head):
    found = fit(labelled, JAILBREAK, head=head).top_features(8)
    assert list(found) == list(JAILBREAK.labels)
    first, second = ({name for name, _ in listed} for listed in found.values())
    assert not first & second


def test_features_of_a_class_without_a_row_are_not_listed(labelled):
    rows = labelled(REFUSAL, labels=["no_refusal", "soft_refusal"])
    found = ClassicalClassifier(REFUSAL).fit(rows).top_features(3)
    assert list(found) == ["no_refusal", "soft_refusal"]


@pytest.mark.parametrize("head", TREES)
def test_trees_see_the_best_terms_alone(labelled, head, tmp_path):
    classifier = fit(labelled, head=head, best_terms=30)
    assert len(classifier._kept) == 30
    assert len(classifier.top_features(100)["all labels"]) == 30
    classifier.save(tmp_path / "model")
    rows = labelled(REFUSAL)
    np.testing.assert_array_equal(
        demur.load(tmp_path / "model").predict_proba(rows), classifier.predict_proba(rows)
    )


def test_linear_heads_see_all_terms(labelled):
    assert fit(labelled, best_terms=30)._kept is None


def test_the_fields_of_the_settings_come_before_those_of_the_task(labelled):
    classifier = fit(labelled, fields=("prompt",))
    assert classifier.reads == ("prompt",)
    rows = labelled(REFUSAL)
    other = rows.with_column("response", ["something else"] * len(rows))
    np.testing.assert_array_equal(classifier.predict_proba(other), classifier.predict_proba(rows))


@pytest.mark.parametrize("head", TREES)
def test_another_order_of_the_threads_changes_nothing(labelled, head):
    rows = labelled(REFUSAL)
    one, two = (fit(labelled, head=head, trees=3, threads=threads).predict_proba(rows) for threads in (1, 2))
    np.testing.assert_allclose(one, two, atol=1e-6)


def test_balance_lifts_the_rare_class(labelled):
    rows = Records.concat([labelled(REFUSAL, n=40, labels=REFUSAL.labels[:1]), labelled(REFUSAL, n=6)])
    odd = Records.from_rows([{"response": "nothing known"}])
    for head in ("logreg", "xgboost", "lightgbm"):
        found = {
            balance: ClassicalClassifier(
                REFUSAL, ClassicalConfig(head=head, balance=balance, trees=8, threads=1, min_df=1)
            )
            .fit(rows)
            .predict_proba(odd)[0, 0]
            for balance in ("balanced", "none")
        }
        assert found["balanced"] < found["none"]


@pytest.mark.parametrize("head", ADAPTIVE)
def test_adaptive_weights_leave_their_trajectory_and_the_model_is_saved_as_any(labelled, head, tmp_path):
    classifier = fit(labelled, head=head, balance="adaptive", evaluations=2)
    assert classifier.alpha_trajectory["labels"] == list(REFUSAL.labels)
    classifier.save(tmp_path / "model")
    loaded, rows = demur.load(tmp_path / "model"), labelled(REFUSAL)
    np.testing.assert_array_equal(loaded.predict_proba(rows), classifier.predict_proba(rows))
    assert loaded.alpha_trajectory is None


def test_without_adaptive_weights_there_is_no_trajectory(labelled):
    assert fit(labelled).alpha_trajectory is None


@pytest.mark.parametrize("head", HEADS)
def test_a_search_varies_settings_that_the_head_has(head):
    config = ClassicalConfig(head=head)
    space = ClassicalClassifier.default_space(config)
    assert space
    assert set(space) <= set(ClassicalConfig.model_fields)


@pytest.mark.parametrize(("head", "file"), [("xgboost", "booster.ubj"), ("lightgbm", "booster.txt")])
def test_boosters_are_saved_in_their_own_formats(labelled, head, file, tmp_path):
    fit(labelled, head=head).save(tmp_path / "model")
    assert (tmp_path / "model" / file).stat().st_size > 0


def test_the_kernel_machine_keeps_the_heaviest_terms(labelled):
    classifier = fit(labelled, head="svc", best_terms=30, components=5)
    assert len(classifier._kept) == 30
    matrix = classifier._features.transform(labelled(REFUSAL))
    weight = np.asarray(matrix.multiply(matrix).sum(axis=0)).ravel()
    assert weight[classifier._kept].min() >= np.delete(weight, classifier._kept).max()


def test_a_saved_svm_keeps_no_row_numbers(labelled):
    assert fit(labelled, head="svm")._head.cv is None
    assert fit(labelled, head="svc")._head["svc"].cv is None


@pytest.mark.parametrize("head", HEADS)
def test_the_parts_in_which_rows_are_judged_change_nothing(labelled, head, monkeypatch):
    from demur.models.classical import _model

    classifier, rows = fit(labelled, head=head), labelled(REFUSAL)
    whole = classifier.predict_proba(rows)
    monkeypatch.setattr(_model, "_PART_ROWS", 7)
    np.testing.assert_array_equal(classifier.predict_proba(rows), whole)
