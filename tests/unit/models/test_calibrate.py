import json

import numpy as np
import pytest
from scipy.special import softmax
from statsmodels.regression.linear_model import OLS

from demur.errors import ArtifactError
from demur.metrics import expected_calibration_error, log_losses
from demur.models import Calibration, CalibrationConfig, fit_calibration
from demur.models._calibrate import LEAST_ROWS, clustered_error, cross_fit
from demur.models._folds import fold_numbers
from demur.tasks import JAILBREAK, REFUSAL


def sample(seed=0, n=400, k=3, sharpness=1.0, size=4):
    generator = np.random.default_rng(seed)
    logits = generator.normal(size=(n, k)) * 1.5
    honest = softmax(logits, axis=1)
    y = np.minimum((generator.random(n)[:, None] > honest.cumsum(axis=1)).sum(axis=1), k - 1)
    return y, softmax(sharpness * logits, axis=1), np.arange(n) // size


def fit(y, p, groups, method="auto", **options):
    task = REFUSAL if p.shape[1] == 3 else JAILBREAK
    return fit_calibration(task, y, p, groups, CalibrationConfig(method=method, **options))


def test_honest_probabilities_are_left_alone():
    assert fit(*sample(n=1200)).method == "none"


@pytest.mark.parametrize("k", [2, 3])
def test_an_overconfident_model_gets_the_simplest_map_that_helps(k):
    found = fit(*sample(n=1200, sharpness=3, k=k))
    assert found.method == "temperature"
    assert found.losses["temperature"].better_by > found.losses["temperature"].standard_error


def test_a_skewed_model_needs_more_than_a_temperature():
    y, p, groups = sample(n=2000, k=2)
    odds = np.log(p[:, 1] / p[:, 0]) + 2
    skewed = 1 / (1 + np.exp(-odds))
    found = fit(y, np.column_stack([1 - skewed, skewed]), groups)
    assert found.method == "platt"


@pytest.mark.parametrize("seed", range(3))
def test_calibration_lowers_the_error_on_new_rows(seed):
    found = fit(*sample(seed, n=1000, sharpness=3))
    y, p, _ = sample(seed + 100, n=4000, sharpness=3)
    assert expected_calibration_error(y, found.apply(p)) < expected_calibration_error(y, p) / 2


def test_a_map_that_costs_security_score_is_not_taken():
    """A model tuned to catch a rare class: honest frequencies would all but give it up."""
    generator = np.random.default_rng(0)
    y = (generator.random(3000) < 0.08).astype(int)
    odds = generator.normal(size=3000) + 1.5 * y - 0.5
    caught = 1 / (1 + np.exp(-odds))
    p, groups = np.column_stack([1 - caught, caught]), np.arange(3000)
    found = fit(y, p, groups)
    assert found.method in ("none", "temperature")
    assert found.losses["platt"].better_by > found.losses["platt"].standard_error
    assert found.losses["platt"].score < found.losses["none"].score
    assert "platt, isotonic would cost security score" in found.reason


def test_few_rows_keep_it_simple():
    y, p, groups = sample(n=LEAST_ROWS["temperature"] - 1, sharpness=5, size=1)
    found = fit(y, p, groups)
    assert (found.method, found.reason) == ("none", "29 rows are too few")
    y, p, groups = sample(n=LEAST_ROWS["platt"] - 1, sharpness=5, size=1)
    assert set(fit(y, p, groups).losses) == {"none", "temperature"}


@pytest.mark.parametrize("method", ["auto", "platt", "isotonic", "temperature"])
def test_one_class_allows_no_calibration(method):
    _, p, groups = sample()
    found = fit(np.ones(len(p), int), p, groups, method)
    assert found.method == "none"
    assert "one class" in found.reason
    np.testing.assert_array_equal(found.apply(p), p)


def test_one_group_cannot_choose():
    y, p, groups = sample(sharpness=4)
    found = fit(y, p, np.zeros_like(groups))
    assert (found.method, found.reason) == ("none", "all rows are of one group")


@pytest.mark.parametrize("method", ["none", "temperature", "platt", "isotonic"])
def test_a_method_asked_for_is_used(method):
    found = fit(*sample(n=60), method)
    assert (found.method, found.reason, found.rows) == (method, "as configured", 60)


def test_no_row_is_judged_by_a_map_that_saw_its_group():
    """Its class turned round, a group's own calibrated rows stay as they were."""
    y, p, groups = sample(sharpness=3)
    folds = fold_numbers(REFUSAL, y, groups, 5, 0)
    mine = folds == folds[0]
    before = cross_fit("isotonic", y, p, folds)
    after = cross_fit("isotonic", np.where(mine, (y + 1) % 3, y), p, folds)
    np.testing.assert_array_equal(before[mine], after[mine])
    assert (before[~mine] != after[~mine]).any()


def test_the_losses_tell_what_the_choice_was_made_by():
    y, p, groups = sample(n=600, sharpness=2)
    found = fit(y, p, groups)
    assert found.losses["none"].value == pytest.approx(log_losses(y, p).mean())
    folds = fold_numbers(REFUSAL, y, groups, 5, 0)
    mapped = cross_fit("temperature", y, p, folds)
    assert found.losses["temperature"].value == pytest.approx(log_losses(y, mapped).mean())


def test_the_error_of_a_mean_over_groups_is_that_of_statsmodels():
    generator = np.random.default_rng(0)
    groups = generator.integers(0, 25, 200)
    values = generator.normal(size=200) + generator.normal(size=25)[groups]
    told = OLS(values, np.ones(200)).fit(cov_type="cluster", cov_kwds={"groups": groups})
    # statsmodels also multiplies by (n - 1) / (n - 1), which is 1 for a mean
    assert clustered_error(values, groups) == pytest.approx(told.bse[0])


@pytest.mark.parametrize("method", ["none", "temperature", "platt", "isotonic"])
def test_json_gives_the_very_same_map(method):
    y, p, groups = sample(sharpness=2)
    found = fit(y, p, groups, method)
    again = Calibration.from_json(json.loads(json.dumps(found.to_json(), allow_nan=False)))
    np.testing.assert_array_equal(again.apply(p), found.apply(p))
    assert again == found


@pytest.mark.parametrize(
    ("key", "value"), [("method", "magic"), ("numbers", {}), ("labels", None), ("losses", {"none": {}})]
)
def test_damaged_json_is_refused(key, value):
    values = fit(*sample(), "platt").to_json() | {key: value}
    with pytest.raises(ArtifactError, match="calibration is damaged"):
        Calibration.from_json(values)


def test_the_same_rows_and_seed_give_the_same_map():
    rows = sample(n=700, sharpness=2)
    assert fit(*rows) == fit(*rows)


def test_no_row_gives_no_row():
    found = fit(*sample(), "isotonic")
    assert found.apply(np.empty((0, 3))).shape == (0, 3)
