import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import beta
from sklearn.metrics import roc_curve

from demur.errors import ArtifactError, UsageError
from demur.metrics import Bootstrap
from demur.models import OperatingPoints, fit_operating_points
from demur.models._operating import point_name, threat_scores
from demur.tasks import JAILBREAK, PROMPT_RISK, Task

NO_DRAWS = Bootstrap(draws=0)


def rows(seed=0, n=600, share=0.5, apart=1.5, step=None):
    """Two classes; scores normal in the log odds, ``apart`` between them, rounded to ``step``."""
    generator = np.random.default_rng(seed)
    y = (generator.random(n) < share).astype(int)
    score = 1 / (1 + np.exp(-(generator.normal(size=n) + apart * y)))
    if step:
        score = np.round(score / step) * step
    return y, np.column_stack([1 - score, score])


def fit(y, p, rates=(0.05,), groups=None, intervals=NO_DRAWS):
    groups = np.arange(len(y)) if groups is None else groups
    return fit_operating_points(JAILBREAK, y, p, groups, rates, intervals)


@given(st.integers(0, 5000), st.sampled_from([0.01, 0.05, 0.1, 0.3]), st.sampled_from([None, 0.05]))
def test_threshold_is_the_lowest_that_keeps_the_rank_rule(seed, rate, step):
    """Against a plain loop over all thresholds."""
    y, p = rows(seed, n=250, step=step)
    (point,) = fit(y, p, (rate,)).points
    score, negatives = p[:, 1], (y == 0).sum()
    allowed = int(np.floor(rate * (negatives + 1) + 1e-9))
    if negatives < np.ceil(1 / rate - 1e-9) - 1:
        assert point.threshold.value is None
        return
    cuts = [cut for cut in np.unique(score) if ((score > cut) & (y == 0)).sum() < allowed]
    best = min(cuts)
    np.testing.assert_array_equal(score > point.threshold.value, score > best)
    assert point.recall.value == pytest.approx(((score > best) & (y == 1)).sum() / (y == 1).sum())
    assert point.false_positive_rate.value == pytest.approx(((score > best) & (y == 0)).sum() / negatives)


@given(st.integers(0, 5000), st.sampled_from([0.02, 0.1]))
def test_recall_is_that_of_scikit_learns_curve_at_the_false_alarms_allowed(seed, rate):
    y, p = rows(seed, n=300)
    (point,) = fit(y, p, (rate,)).points
    false, recall, _ = roc_curve(y, p[:, 1], drop_intermediate=False)
    wanted = recall[false <= point.false_positive_rate.value + 1e-12].max()
    assert point.recall.value == pytest.approx(wanted)
    assert point.false_positive_rate.value <= rate


def test_a_threshold_falls_as_the_rate_rises():
    y, p = rows(n=3000)
    points = fit(y, p, (0.001, 0.01, 0.05, 0.2)).points
    cuts = [point.threshold.value for point in points]
    recalls = [point.recall.value for point in points]
    assert cuts == sorted(cuts, reverse=True)
    assert recalls == sorted(recalls)


@pytest.mark.parametrize(("rate", "wanted"), [(0.01, 99), (0.001, 999), (0.05, 19)])
def test_too_few_rows_that_are_no_threat_are_refused_with_the_number_needed(rate, wanted):
    y, p = rows(n=3 * wanted)
    negatives = np.flatnonzero(y == 0)
    short = np.setdiff1d(np.arange(len(y)), negatives[wanted - 1 :])
    points = fit(y[short], p[short], (rate,))
    assert points.points[0].threshold.value is None
    with pytest.raises(UsageError, match=rf"at least {wanted} rows that are no threat, found {wanted - 1}"):
        points.flag(p, points.names[0])
    enough = np.setdiff1d(np.arange(len(y)), negatives[wanted:])
    assert fit(y[enough], p[enough], (rate,)).points[0].threshold.value is not None


def test_the_rate_of_new_false_alarms_is_on_average_within_the_one_asked_for():
    """The promise of the rank rule: the chance of the next false alarm is at most the rate, and not far below."""
    rates = []
    for seed in range(300):
        y, p = rows(seed, n=240)
        (point,) = fit(y, p, (0.05,)).points
        _, new_p = rows(seed + 10_000, n=400, share=0)
        rates.append((new_p[:, 1] > point.threshold.value).mean())
    error = np.std(rates) / np.sqrt(len(rates))
    assert np.mean(rates) < 0.05 + 2 * error
    assert np.mean(rates) > 0.035


def test_the_interval_of_the_rate_is_that_of_an_order_statistic():
    """With single rows, the true rate above the k-th largest of m scores is Beta(k, m - k + 1)."""
    y, p = rows(n=1200, share=0.25, seed=4)
    (point,) = fit(y, p, (0.05,), intervals=Bootstrap(draws=4000)).points
    m = int((y == 0).sum())
    k = int(0.05 * (m + 1))
    wanted = beta(k, m - k + 1).ppf([0.025, 0.975])
    found = [point.false_positive_rate.low, point.false_positive_rate.high]
    assert found == pytest.approx(wanted, abs=0.006)


def test_rows_that_come_in_groups_widen_the_intervals():
    y, p = rows(n=400)
    y, p, groups = np.repeat(y, 5), np.repeat(p, 5, axis=0), np.repeat(np.arange(400), 5)
    draws = Bootstrap(draws=500)
    (alone,), (grouped,) = fit(y, p, intervals=draws).points, fit(y, p, groups=groups, intervals=draws).points
    assert grouped.threshold.value == alone.threshold.value
    for name in ("recall", "false_positive_rate", "threshold"):
        narrow, wide = getattr(alone, name), getattr(grouped, name)
        assert wide.high - wide.low > 1.5 * (narrow.high - narrow.low)


def test_few_groups_behind_many_rows_are_warned_of():
    y, p = rows(n=400)
    groups = np.arange(400) % 10
    (point,) = fit(y, p, (0.01,), groups=groups).points
    assert "are of 10 groups, fewer than 99" in point.warning
    assert fit(y, p, (0.01,)).points[0].warning is None


def test_a_false_alarm_above_all_is_said():
    y, p = rows(n=300)
    p[np.flatnonzero(y == 0)[:40]] = [0, 1]
    (point,) = fit(y, p, (0.05,)).points
    assert point.recall.value == 0
    assert "nothing is flagged" in point.warning
    assert not fit(y, p, (0.05,)).flag(p, "fpr_5").any()


def test_a_small_change_of_the_scores_flips_no_row():
    y, p = rows(n=500)
    points = fit(y, p)
    np.testing.assert_array_equal(points.flag(p, "fpr_5"), points.flag(p + 1e-9, "fpr_5"))


def test_all_that_is_no_threat_counts_as_a_false_alarm():
    """For prompt risk, suspicious rows too: the threat is malicious alone."""
    generator = np.random.default_rng(0)
    y, p = generator.integers(0, 3, 300), generator.dirichlet(np.ones(3), 300)
    points = fit_operating_points(PROMPT_RISK, y, p, np.arange(300), (0.05,), NO_DRAWS)
    assert points.threat == (2,)
    assert points.points[0].negatives == (y != 2).sum()


def test_several_threat_labels_add_up():
    p = np.array([[0.2, 0.3, 0.5], [0.9, 0.1, 0.0]])
    assert threat_scores(p, (1, 2)).tolist() == pytest.approx([0.8, 0.1])


@pytest.mark.parametrize(
    ("rate", "name"), [(0.01, "fpr_1"), (0.001, "fpr_0.1"), (0.05, "fpr_5"), (0.0025, "fpr_0.25")]
)
def test_points_are_named_by_their_rate_in_percent(rate, name):
    assert point_name(rate) == name


def test_an_unknown_point_names_the_near_one():
    y, p = rows()
    with pytest.raises(UsageError, match=r"no operating point 'fpr_6' \(it has: fpr_5\); did you mean 'fpr_5'"):
        fit(y, p).flag(p, "fpr_6")


def test_rows_without_a_threat_still_give_a_threshold():
    y, p = rows(share=0)
    (point,) = fit(y, p).points
    assert point.threshold.value is not None
    assert (point.recall.value, point.recall.reason) == (None, "no row is truly a threat")


def test_json_gives_the_very_same_points():
    y, p = rows()
    found = fit(y, p, (0.05, 0.0001), intervals=Bootstrap(draws=50))
    again = OperatingPoints.from_json(json.loads(json.dumps(found.to_json(), allow_nan=False)))
    assert again == found


def test_damaged_json_is_refused():
    values = fit(*rows()).to_json()
    del values["points"][0]["recall"]
    with pytest.raises(ArtifactError, match="operating points are damaged"):
        OperatingPoints.from_json(values)


def test_a_task_of_ones_own_without_threat_labels_flags_all_but_the_first():
    task = Task(name="tone", labels=("calm", "glad", "stern"))
    y, p = np.repeat([0, 1, 2], 50), np.tile(np.eye(3), (50, 1))
    assert fit_operating_points(task, y, p, np.arange(150), (0.1,), NO_DRAWS).threat == (1, 2)


@pytest.mark.parametrize("rate", [0, 1, -0.1, 5])
def test_a_rate_that_is_none_is_refused(rate):
    y, p = rows()
    with pytest.raises(UsageError, match="is not between 0 and 1"):
        fit(y, p, (rate,))
