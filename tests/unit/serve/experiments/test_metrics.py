import pytest

from demur.serve.experiments._metrics import METRICS, is_flagged, values_of
from demur.store import PredictionRow

THREATS = frozenset({"hard_refusal", "soft_refusal"})


def row(**values):
    defaults = {
        "request_id": "r",
        "task": "refusal",
        "model": "m",
        "version": "v",
        "label": "hard_refusal",
        "probabilities": {},
        "threat_score": 0.5,
        "is_flagged": True,
        "is_unsure": False,
        "latency_ms": 12.0,
    }
    return PredictionRow(**(defaults | values))


def test_a_row_without_feedback_is_worth_what_can_be_seen_of_it():
    found = values_of(row(), None, THREATS, is_labelled=False)
    assert found == {"error_rate": 0.0, "flag_rate": 1.0, "latency_ms": 12.0, "unsure_rate": 0.0}
    assert "unsure_rate" not in values_of(row(is_unsure=None), None, THREATS, is_labelled=False)


@pytest.mark.parametrize(
    ("label", "flagged", "truth", "wanted"),
    [
        ("hard_refusal", True, "hard_refusal", {"accuracy": 1, "missed_threat_rate": 0}),
        ("hard_refusal", True, "soft_refusal", {"accuracy": 0, "missed_threat_rate": 0}),
        ("hard_refusal", True, "no_refusal", {"accuracy": 0, "false_alarm_rate": 1}),
        ("no_refusal", False, "hard_refusal", {"accuracy": 0, "missed_threat_rate": 1}),
        ("no_refusal", False, "no_refusal", {"accuracy": 1, "false_alarm_rate": 0}),
    ],
)
def test_feedback_makes_an_error_a_false_alarm_or_a_missed_threat(label, flagged, truth, wanted):
    assert values_of(row(label=label, is_flagged=flagged), truth, THREATS, is_labelled=True) == wanted


def test_the_label_decides_where_no_operating_point_did():
    assert is_flagged(row(is_flagged=None), THREATS)
    assert not is_flagged(row(is_flagged=None, label="no_refusal"), THREATS)
    assert not is_flagged(row(is_flagged=False), THREATS)


def test_only_accuracy_is_better_high():
    assert [name for name, one in METRICS.items() if one.is_better_high] == ["accuracy"]
