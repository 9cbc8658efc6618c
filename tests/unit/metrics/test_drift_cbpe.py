import numpy as np
import pytest

from demur.errors import DataError
from demur.metrics import Bootstrap, estimate_performance
from demur.tasks import REFUSAL


def draw_rows(generator, n, alpha):
    """Probabilities of a classifier that is calibrated by construction, true labels, and what was flagged."""
    chances = generator.dirichlet(alpha, n)
    labels = (generator.random(n)[:, None] >= np.cumsum(chances, axis=1)[:, :-1]).sum(axis=1)
    return chances, labels, chances[:, 1:].sum(axis=1) > 0.6


def realised(chances, labels, flagged):
    threat = labels > 0
    return {
        "accuracy": (chances.argmax(axis=1) == labels).mean(),
        "false_alarm": flagged[~threat].mean(),
        "missed_threat": (~flagged)[threat].mean(),
    }


def test_the_figures_are_the_formulas():
    chances = np.array([[0.9, 0.1, 0.0], [0.2, 0.5, 0.3], [0.6, 0.2, 0.2]])
    found = estimate_performance(REFUSAL, chances, [False, True, False])
    assert found.accuracy.value == pytest.approx((0.9 + 0.5 + 0.6) / 3)
    assert found.false_alarm.value == pytest.approx(0.2 / (0.9 + 0.2 + 0.6))
    assert found.missed_threat.value == pytest.approx((0.1 + 0.4) / (0.1 + 0.8 + 0.4))


@pytest.mark.parametrize("alpha", [(1.2, 0.4, 0.3), (0.3, 0.6, 0.5)], ids=["as before", "other inputs"])
def test_intervals_hold_what_labelling_the_rows_shows(alpha):
    """Also under covariate shift: the second set has other inputs, and the classifier stays calibrated."""
    generator = np.random.default_rng(1)
    held = dict.fromkeys(("accuracy", "false_alarm", "missed_threat"), 0)
    for number in range(150):
        chances, labels, flagged = draw_rows(generator, 250, alpha)
        found = estimate_performance(REFUSAL, chances, flagged, Bootstrap(draws=300, seed=number))
        for name, value in realised(chances, labels, flagged).items():
            estimate = getattr(found, name)
            held[name] += estimate.low <= value <= estimate.high
    assert min(held.values()) >= 0.93 * 150


def test_concept_drift_is_not_seen():
    """Labels that no longer go with the inputs: the estimate stays, as its docstring says."""
    generator = np.random.default_rng(2)
    chances, labels, flagged = draw_rows(generator, 2000, (1.2, 0.4, 0.3))
    found = estimate_performance(REFUSAL, chances, flagged)
    wrong = realised(chances, generator.permutation(labels), flagged)
    assert found.accuracy.low > wrong["accuracy"] + 0.1


def test_rows_without_a_threat_have_no_missed_ones():
    found = estimate_performance(REFUSAL, [[1.0, 0.0, 0.0]] * 5, [False] * 5)
    assert found.missed_threat.value is None
    assert found.missed_threat.reason == "no row it could be taken of"
    assert found.accuracy.value == 1


def test_no_rows_give_no_figures():
    found = estimate_performance(REFUSAL, np.empty((0, 3)), [])
    assert found.n == 0
    assert found.accuracy.reason == "no rows"


def test_what_it_rests_on_is_said():
    found = estimate_performance(REFUSAL, [[0.5, 0.3, 0.2]] * 9, [True] * 9).to_json()
    assert "calibrated" in found["assumes"]
    assert found["accuracy"]["n"] == 9


def test_flags_of_other_rows_are_refused():
    with pytest.raises(DataError, match="wanted"):
        estimate_performance(REFUSAL, [[0.5, 0.3, 0.2]], [True, False])
    with pytest.raises(DataError, match="one for each row"):
        estimate_performance(REFUSAL, [[0.5, 0.3, 0.2]], [[True]])
