import json

import numpy as np
import pytest

import demur
from demur.config import parse_settings
from demur.data import Records
from demur.errors import ConfigError, EmptyDataError
from demur.metrics import Bootstrap
from demur.models import BaseClassifier, ReadyConfig, make_ready
from demur.models._calibrate import cross_fit
from demur.models._folds import fold_numbers
from demur.tasks import REFUSAL

FEW_DRAWS = Bootstrap(draws=60)


class Planned(BaseClassifier):
    """Gives the probabilities that stand in the response, so that a test may choose them; too sure by ``heat``."""

    family = "planned"
    config_type = demur.config.Settings

    def _fit(self, train, targets, valid):
        self.fitted = True

    def _predict(self, records):
        return np.array([[float(number) for number in text.split()] for text in records.texts("response")])

    def _write(self, folder):
        raise NotImplementedError

    def _read(self, folder):
        raise NotImplementedError


def planned_rows(n=900, heat=3.0, size=3, seed=0, labels=REFUSAL.labels):
    generator = np.random.default_rng(seed)
    logits = generator.normal(size=(n, 3)) * 1.5
    honest = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    y = np.minimum((generator.random(n)[:, None] > honest.cumsum(axis=1)).sum(axis=1), len(labels) - 1)
    given = np.exp(heat * logits) / np.exp(heat * logits).sum(axis=1, keepdims=True)
    return Records.from_rows(
        {
            "prompt": "a",
            "response": " ".join(f"{value:.12f}" for value in row),
            "refusal": labels[number],
            "group": f"g{at // size}",
        }
        for at, (row, number) in enumerate(zip(given, y, strict=True))
    )


def ready(rows, **options):
    classifier = Planned(REFUSAL)
    return classifier, make_ready(classifier, rows, ReadyConfig(**options), 0, FEW_DRAWS)


@pytest.fixture(scope="module")
def made():
    """An overconfident classifier made ready on 900 rows, with its report."""
    return ready(planned_rows(), alpha=0.1)


def test_an_overconfident_classifier_is_calibrated(made):
    classifier, report = made
    assert classifier.calibration.method == "temperature"
    facts = report.calibration
    assert facts["ece_after"]["value"] < facts["ece_before"]["low"]
    assert facts["log_loss_after"]["value"] < facts["log_loss_before"]["value"]
    assert facts["brier_after"]["value"] < facts["brier_before"]["value"]
    assert facts["params"]["temperature"] == pytest.approx(3, rel=0.25)


def test_predictions_are_calibrated_and_the_raw_ones_can_be_had(made):
    classifier, _ = made
    rows = planned_rows(n=50, seed=3)
    raw = classifier.raw_proba(rows)
    np.testing.assert_array_equal(classifier.predict_proba(rows), classifier.calibration.apply(raw))
    assert np.abs(classifier.predict_proba(rows) - raw).max() > 0.05


def test_no_group_fits_the_map_and_the_thresholds(made):
    """The rows behind both sum to all rows: none counts twice."""
    classifier, report = made
    deciding = classifier.operating.points[0]
    assert classifier.calibration.rows + deciding.negatives + deciding.positives == report.rows == 900
    assert classifier.calibration.rows == pytest.approx(0.4 * 900, abs=15)
    assert report.conformal["units"]["no_refusal"] + classifier.calibration.rows / 3 == report.groups == 300


def test_what_is_promised_holds_on_new_rows(made):
    classifier, report = made
    rows = planned_rows(n=6000, seed=7)
    y, found = rows.targets(REFUSAL), classifier.predict(rows)
    wrong = found.class_ids != y
    assert (wrong & ~found.unsure).mean() < 0.12
    assert report.conformal["coverage"]["low"] <= 0.9 <= report.conformal["coverage"]["high"] + 0.02
    point = classifier.operating.find("fpr_1")
    false = found.flagged("fpr_1")[y == 0].mean()
    assert point.false_positive_rate.low - 0.005 <= false <= point.false_positive_rate.high + 0.01
    assert found.flagged("fpr_1")[y != 0].mean() == pytest.approx(point.recall.value, abs=0.15)


def test_the_reported_probabilities_are_cross_fitted(made):
    classifier, report = made
    rows = planned_rows()
    y, groups = rows.targets(REFUSAL), rows.groups()
    folds = fold_numbers(REFUSAL, y, groups, 5, 0)
    wanted = cross_fit("temperature", y, classifier.raw_proba(rows), folds)
    np.testing.assert_array_equal(report.probabilities, wanted)
    assert (report.probabilities != classifier.predict_proba(rows)).any()


def test_the_report_is_strict_json(made):
    _, report = made
    again = json.loads(json.dumps(report.to_json(), allow_nan=False))
    assert again["calibration"]["losses"].keys() >= {"none", "temperature"}
    assert [point["name"] for point in again["operating"]] == ["fpr_1", "fpr_0.1"]
    assert "exchangeable" in again["conformal"]["guarantee"]
    assert again["groups"] == 300


def test_what_the_rows_do_not_allow_is_left_out_with_the_reason(made):
    classifier, report = made
    assert classifier.operating.find("fpr_1").threshold.value is not None
    assert any(text.startswith("fpr_0.1: ") and "at least 999 rows" in text for text in report.warnings)


def test_few_rows_give_reasons_and_no_abstention():
    classifier, report = ready(planned_rows(n=24))
    assert classifier.calibration is None
    assert classifier.conformal is None
    assert "takes at least 19 groups" in report.conformal["reason"]
    assert report.conformal["reason"] in report.warnings
    np.testing.assert_array_equal(report.probabilities, classifier.raw_proba(planned_rows(n=24)))


def test_rows_that_fitted_nothing_all_decide():
    _, report = ready(planned_rows(n=300), calibration="none")
    assert report.conformal["units"]["no_refusal"] == 100
    assert report.calibration["method"] == "none"
    few = ready(planned_rows(n=60, size=1))[1]
    assert few.calibration["reason"] == "24 rows are too few"
    assert few.conformal["units"]["no_refusal"] == 60


@pytest.mark.parametrize("labels", [REFUSAL.labels[:1], REFUSAL.labels[:2]])
def test_missing_classes_are_no_obstacle(labels):
    classifier, report = ready(planned_rows(n=300, labels=labels))
    assert np.isfinite(classifier.predict_proba(planned_rows(n=20))).all()
    json.dumps(report.to_json(), allow_nan=False)


def test_one_group_is_no_obstacle():
    classifier, report = ready(planned_rows(n=300, size=300))
    assert report.groups == 1
    assert classifier.calibration is None
    assert classifier.conformal is None


@pytest.mark.parametrize(("size", "warned"), [(300, 1), (3, 0)])
def test_a_map_and_thresholds_from_the_same_rows_are_warned_of(size, warned):
    _, report = ready(planned_rows(n=300, size=size), calibration="temperature")
    assert sum("the same rows fitted the calibration" in text for text in report.warnings) == warned
    if warned:
        assert "rows of 1 group cannot be divided" in report.warnings[0]


def test_one_group_that_sets_no_threshold_is_not_warned_of():
    rows = planned_rows(n=300, size=300)
    _, report = ready(rows, calibration="temperature", false_positive_rates=(), alpha=None)
    assert report.warnings == ()


def test_nothing_asked_for_gives_nothing():
    classifier, report = ready(planned_rows(n=300), calibration="none", false_positive_rates=(), alpha=None)
    assert (classifier.calibration, classifier.operating, classifier.conformal) == (None, None, None)
    assert report.warnings == ()
    assert report.conformal == {"reason": "not asked for"}


def test_a_calibration_alone_is_fitted_on_all_rows():
    classifier, _ = ready(planned_rows(n=300), false_positive_rates=(), alpha=None)
    assert classifier.calibration.rows == 300


@pytest.mark.parametrize("by_class", [True, False])
@pytest.mark.parametrize("abstain", ["lac", "aps"])
def test_every_kind_of_abstention_can_be_asked_for(abstain, by_class):
    classifier, report = ready(planned_rows(), alpha=0.2, abstain=abstain, by_class=by_class, unit="row")
    assert (report.conformal["method"], report.conformal["by_class"]) == (abstain, by_class)
    assert classifier.predict(planned_rows(n=30)).unsure.dtype == bool


def test_the_same_seed_makes_the_same():
    one, other = (ready(planned_rows(n=400))[0] for _ in range(2))
    assert one.calibration == other.calibration
    assert one.operating == other.operating
    assert one.conformal == other.conformal


def test_it_is_made_anew_not_on_top():
    """A second call starts from the raw probabilities, not from those the first one calibrated."""
    classifier, first = ready(planned_rows())
    again = make_ready(classifier, planned_rows(), ReadyConfig(), 0, FEW_DRAWS)
    assert again.to_json() == first.to_json()


def test_learning_again_forgets_what_was_made():
    classifier, _ = ready(planned_rows(n=400))
    classifier.fit(planned_rows(n=60))
    assert (classifier.calibration, classifier.operating, classifier.conformal) == (None, None, None)


def test_rows_without_a_label_are_refused():
    rows = planned_rows(n=9).with_column("refusal", [None] * 9)
    with pytest.raises(EmptyDataError, match="no record has a label"):
        make_ready(Planned(REFUSAL), rows)


def test_a_classifier_that_gives_a_class_no_probability_is_made_ready(fitted, labelled, tasks):
    task = tasks["refusal"]
    classifier = fitted("tfidf_nb", task)
    report = make_ready(classifier, labelled(task, n=150), ReadyConfig(alpha=0.2), 0, FEW_DRAWS)
    assert np.isfinite(report.probabilities).all()
    classifier.calibration = classifier.operating = classifier.conformal = None


@pytest.mark.parametrize(
    ("rates", "said"),
    [([0.0], "0 is not between"), ([1.5], "1.5 is not between"), ([0.1, 0.1], "repeat: 0.1, 0.1")],
)
def test_rates_that_cannot_be_are_refused(rates, said):
    with pytest.raises(ConfigError, match=said):
        parse_settings(ReadyConfig, {"false_positive_rates": rates})
