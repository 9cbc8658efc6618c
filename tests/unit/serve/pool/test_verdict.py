import numpy as np

from demur.models import Predictions, load
from demur.serve.pool._verdict import thresholds_of, to_verdicts
from demur.tasks import REFUSAL


def test_a_verdict_says_what_the_predictions_say(ready_folder):
    predictions = load(ready_folder).predict(
        [
            {"prompt": "what", "response": "I cannot help with alpha."},
            {"prompt": "what", "response": "Here it is."},
        ]
    )
    verdicts = to_verdicts(predictions)
    assert [one.label for one in verdicts] == predictions.labels
    for row, verdict in enumerate(verdicts):
        assert list(verdict.probabilities) == list(REFUSAL.labels)
        assert list(verdict.probabilities.values()) == predictions.probabilities[row].tolist()
        assert verdict.threat_score == predictions.threat_score[row]
        assert verdict.unsure == predictions.unsure[row]
        assert verdict.flagged == {name: predictions.flagged(name)[row] for name in ("fpr_10", "fpr_20")}
        assert all(type(value) is bool for value in (*verdict.flagged.values(), verdict.unsure))


def test_thresholds_are_those_of_the_operating_points(ready_folder):
    predictions = load(ready_folder).predict([{"response": "x"}])
    found = thresholds_of(predictions)
    assert found == {name: predictions.operating.find(name).threshold.value for name in ("fpr_10", "fpr_20")}


def test_a_model_that_was_not_made_ready_flags_nothing_and_doubts_nothing():
    predictions = Predictions(REFUSAL, ["a"], np.array([[0.2, 0.5, 0.3]]))
    assert thresholds_of(predictions) == {}
    (verdict,) = to_verdicts(predictions)
    assert (verdict.flagged, verdict.unsure, verdict.label) == ({}, None, "hard_refusal")
    assert verdict.threat_score == 0.8
