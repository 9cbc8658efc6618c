"""Tests of the classifier base: what prediction returns and what training refuses."""

from copy import copy

import numpy as np
import polars as pl
import pytest

from demur.data import Records
from demur.errors import (
    ArtifactError,
    DataError,
    EmptyDataError,
    LabelError,
    MissingColumnError,
    RegistryError,
    UsageError,
)
from demur.metrics import Estimate
from demur.models import (
    CLASSIFIERS,
    Calibration,
    Classifier,
    Conformal,
    ConformalConfig,
    OperatingPoint,
    OperatingPoints,
    Predictions,
)
from demur.models.classical import ClassicalClassifier
from demur.models.rules import RulesClassifier
from demur.tasks import REFUSAL


def test_the_label_is_the_most_probable_one():
    predictions = Predictions(REFUSAL, ["a", "b"], np.array([[0.2, 0.5, 0.3], [0.6, 0.1, 0.3]]))
    assert predictions.class_ids.tolist() == [1, 0]
    assert predictions.class_ids.dtype == np.int64
    assert predictions.labels == ["hard_refusal", "no_refusal"]
    assert len(predictions) == 2


def test_a_frame_of_predictions_has_a_column_for_every_label():
    frame = Predictions(REFUSAL, ["a"], np.array([[0.2, 0.5, 0.3]])).frame()
    expected = {
        "id": "a",
        "label": "hard_refusal",
        "p_no_refusal": 0.2,
        "p_hard_refusal": 0.5,
        "p_soft_refusal": 0.3,
    }
    assert frame.to_dicts() == [expected]


def test_no_prediction_is_an_empty_frame():
    assert Predictions(REFUSAL, [], np.empty((0, 3))).frame().height == 0


def test_ids_are_kept_and_given_where_absent(fitted):
    classifier = fitted("rules", REFUSAL)
    assert classifier.predict([{"id": "x", "response": "a"}, {"id": "y", "response": "b"}]).ids == ["x", "y"]
    assert classifier.predict([{"response": "a"}, {"response": "b"}]).ids == ["row-1", "row-2"]


def test_no_mapping_at_all_is_an_error(fitted):
    with pytest.raises(EmptyDataError, match="no records were given"):
        fitted("rules", REFUSAL).predict([])


@pytest.mark.parametrize("given", [["text"], {"prompt": "a"}, [3]])
def test_what_is_no_record_is_named(fitted, given):
    with pytest.raises(DataError, match=r"row 1 is a (str|int); give mappings"):
        fitted("rules", REFUSAL).predict(given)


def test_a_frame_without_texts_names_the_missing_column(fitted):
    with pytest.raises(MissingColumnError, match="has no column 'prompt'"):
        fitted("rules", REFUSAL).predict(pl.DataFrame({"text": ["a"]}))


def test_a_label_outside_the_task_is_refused(labelled, tasks):
    rows = labelled(REFUSAL).with_column("refusal", ["maybe"] * 60)
    with pytest.raises(LabelError, match=r"label 'maybe' \(row 1\) is not one of task 'refusal'"):
        ClassicalClassifier(REFUSAL).fit(rows)


def test_training_needs_the_label_column(labelled, tasks):
    with pytest.raises(MissingColumnError, match="no column 'refusal'"):
        ClassicalClassifier(REFUSAL).fit(labelled(tasks["jailbreak"]))


def test_fit_returns_the_classifier_itself(labelled):
    classifier = RulesClassifier(REFUSAL)
    assert classifier.fit(labelled(REFUSAL)) is classifier


def test_default_settings_stand_where_none_are_given():
    assert ClassicalClassifier(REFUSAL).config == ClassicalClassifier.config_type()


def test_a_model_is_loaded_by_its_own_family_alone(saved):
    assert isinstance(ClassicalClassifier.load(saved), ClassicalClassifier)
    with pytest.raises(
        ArtifactError, match=r"holds a 'classical' model, not a 'rules' one; load it with demur\.load"
    ):
        RulesClassifier.load(saved)


def test_every_registered_family_is_a_classifier_under_its_own_name():
    for name in CLASSIFIERS.names():
        family = CLASSIFIERS.get(name)
        assert family.family == name
        assert all(isinstance(settings, dict) for settings in family.presets.values())


def test_an_unknown_family_names_the_near_one():
    with pytest.raises(RegistryError, match="did you mean 'embedding'"):
        CLASSIFIERS.get("embeding")


def test_a_stranger_need_not_inherit_to_be_a_classifier():
    class Stranger:
        family, task = "stranger", REFUSAL

        def fit(self, train, valid=None): ...
        def predict_proba(self, records): ...
        def predict(self, records): ...
        def save(self, folder): ...
        @classmethod
        def load(cls, folder): ...

    assert isinstance(Stranger(), Classifier)
    assert not isinstance(object(), Classifier)


def test_a_record_set_of_no_rows_needs_no_model_at_all():
    empty = Records(pl.DataFrame({"prompt": []}, schema={"prompt": pl.String}))
    assert ClassicalClassifier(REFUSAL).predict_proba(empty).shape == (0, 3)


def test_texts_are_judged_as_repaired_as_those_that_were_learned_from() -> None:
    from demur.models.rules import RulesClassifier
    from demur.tasks import REFUSAL

    rules = RulesClassifier(REFUSAL)
    assert rules.predict([{"prompt": "p", "response": "I canâ€™t help with that."}]).labels == ["hard_refusal"]


def points(threshold=0.5):
    """One operating point at a threshold."""

    def known(value, n=99):
        return Estimate(value, None, None, n)

    point = OperatingPoint("fpr_1", 0.01, known(threshold), known(0.0), known(0.8), 99, 60)
    return OperatingPoints((1, 2), (point,))


def test_records_are_flagged_by_their_summed_threat():
    found = Predictions(REFUSAL, ["a", "b"], np.array([[0.45, 0.3, 0.25], [0.6, 0.4, 0.0]]), points())
    assert found.threat_score.tolist() == pytest.approx([0.55, 0.4])
    assert found.flagged("fpr_1").tolist() == [True, False]


def test_flagging_without_operating_points_says_how_to_get_them():
    found = Predictions(REFUSAL, ["a"], np.array([[0.2, 0.5, 0.3]]))
    with pytest.raises(UsageError, match=r"has no operating points; give it some with demur\.models\.make_ready"):
        found.flagged("fpr_1")


def test_records_are_unsure_where_one_label_is_not_enough():
    conformal = Conformal(ConformalConfig(), REFUSAL.labels, (0.6, 0.6, 0.6), (50, 50, 50))
    found = Predictions(REFUSAL, ["a", "b"], np.array([[0.5, 0.45, 0.05], [0.9, 0.05, 0.05]]), None, conformal)
    assert found.unsure.tolist() == [True, False]


def test_unsure_without_abstention_says_how_to_get_it():
    found = Predictions(REFUSAL, ["a"], np.array([[0.2, 0.5, 0.3]]))
    with pytest.raises(UsageError, match=r"has no abstention; give it one with demur\.models\.make_ready"):
        _ = found.unsure


def test_a_calibration_is_applied_to_all_but_the_raw_probabilities(fitted, labelled):
    classifier, rows = copy(fitted("tfidf_logreg", REFUSAL)), labelled(REFUSAL)
    plain = classifier.predict_proba(rows)
    numbers = {"temperature": 3.0, "never": []}
    classifier.calibration = Calibration("temperature", REFUSAL.labels, numbers, 60, "as configured")
    np.testing.assert_array_equal(classifier.raw_proba(rows), plain)
    np.testing.assert_array_equal(classifier.predict_proba(rows), classifier.calibration.apply(plain))
    assert classifier.predict(rows).probabilities.max() < plain.max()
    assert classifier.predict_proba(rows.take([])).shape == (0, 3)
