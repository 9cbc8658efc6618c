import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from demur.errors import DataError
from demur.metrics import JudgeCalibration, corrected_rate, rogan_gladen, wilson_interval
from demur.metrics._judge import draw_judges

GOOD = JudgeCalibration(true_positives=90, false_negatives=10, true_negatives=160, false_positives=40)
BLIND = JudgeCalibration(5, 5, 5, 5)
shares = st.floats(0, 1)


@given(shares, st.floats(0.55, 1), st.floats(0.55, 1))
def test_correction_undoes_what_a_judge_does_to_a_rate(true, se, sp):
    reported = true * se + (1 - true) * (1 - sp)
    assert rogan_gladen(reported, se, sp) == pytest.approx(true, abs=1e-9)


@given(shares)
def test_a_judge_without_error_is_believed(rate):
    assert rogan_gladen(rate, 1, 1) == pytest.approx(rate)


@given(shares, st.floats(0.55, 1), st.floats(0.55, 1))
def test_a_corrected_rate_is_a_rate(rate, se, sp):
    assert 0 <= rogan_gladen(rate, se, sp) <= 1


def test_fewer_positives_than_false_alarms_explain_is_a_rate_of_zero():
    assert rogan_gladen(0.05, 0.9, 0.9) == 0


@pytest.mark.parametrize(("se", "sp"), [(0.5, 0.5), (0.3, 0.6), (0, 0)])
def test_a_judge_no_better_than_chance_corrects_nothing(se, sp):
    with pytest.raises(DataError, match="no better than chance; label more responses"):
        rogan_gladen(0.4, se, sp)


def test_shares_outside_their_bounds_are_refused():
    with pytest.raises(DataError, match=r"must lie in 0\.\.1"):
        rogan_gladen(40, 0.9, 0.9)


def test_sensitivity_and_specificity_come_from_the_labelled_counts():
    assert (GOOD.sensitivity, GOOD.specificity, GOOD.n_positive, GOOD.n_negative) == (0.9, 0.8, 100, 200)


@pytest.mark.parametrize("counts", [(0, 0, 5, 5), (5, 5, 0, 0)])
def test_a_judge_must_be_labelled_on_both_kinds(counts):
    with pytest.raises(DataError, match="label some of both kinds"):
        JudgeCalibration(*counts)


def test_negative_counts_are_refused():
    with pytest.raises(DataError, match="negative count"):
        JudgeCalibration(5, -1, 5, 5)


def test_the_interval_is_lang_and_reiczigels():
    """Their formulas, written out once more with the numbers put in."""
    x, n, z = 60, 150, stats.norm.ppf(0.975)
    p, se, sp = (x + z * z / 2) / (n + z * z), 91 / 102, 161 / 202
    youden = se + sp - 1
    true = (p + sp - 1) / youden
    parts = p * (1 - p) / (n + z**2), true**2 * se * (1 - se) / 102, (1 - true) ** 2 * sp * (1 - sp) / 202
    shift = 2 * z**2 * (true * se * (1 - se) / 102 - (1 - true) * sp * (1 - sp) / 202)
    half = z * np.sqrt(sum(parts)) / youden
    found = corrected_rate(x, n, GOOD)
    assert (found.low, found.high) == pytest.approx((true + shift - half, true + shift + half))
    assert found.value == pytest.approx((60 / 150 + 0.8 - 1) / 0.7)


def simulate(true, se, sp, n, labelled, repeats=1000):
    generator = np.random.default_rng(0)
    found = generator.binomial(n, true * se + (1 - true) * (1 - sp), repeats)
    hits, rejections = generator.binomial(labelled, se, repeats), generator.binomial(labelled, sp, repeats)
    for x, tp, tn in zip(found.tolist(), hits.tolist(), rejections.tolist(), strict=True):
        yield x, JudgeCalibration(tp, labelled - tp, tn, labelled - tn)


@pytest.mark.parametrize(
    ("true", "se", "sp", "labelled"),
    [
        (0.5, 0.9, 0.9, 50),
        (0.1, 0.9, 0.95, 100),
        (0.9, 0.8, 0.8, 100),
        (0.02, 0.95, 0.97, 60),
        (0.5, 0.6, 0.7, 200),
    ],
)
def test_the_interval_covers_the_truth_as_often_as_it_says(true, se, sp, labelled):
    found = [corrected_rate(x, 300, judge) for x, judge in simulate(true, se, sp, 300, labelled)]
    covered = np.mean([one.low is not None and one.low <= true <= one.high for one in found])
    assert 0.93 <= covered <= 0.995


def test_an_interval_that_trusts_the_judge_blindly_covers_too_rarely():
    covered = []
    for x, judge in simulate(0.5, 0.9, 0.9, 300, 50):
        ends = [rogan_gladen(end, judge.sensitivity, judge.specificity) for end in wilson_interval(x, 300)]
        covered.append(ends[0] <= 0.5 <= ends[1])
    assert np.mean(covered) < 0.85


def test_more_labelled_responses_narrow_the_interval():
    tenfold = JudgeCalibration(900, 100, 1600, 400)
    narrow, wide = corrected_rate(60, 150, tenfold), corrected_rate(60, 150, GOOD)
    assert narrow.value == pytest.approx(wide.value)
    assert narrow.high - narrow.low < wide.high - wide.low


@given(st.integers(0, 40), st.integers(0, 40))
def test_the_interval_holds_the_corrected_rate(x, more):
    found = corrected_rate(x, x + more, GOOD)
    if found.low is not None:
        assert 0 <= found.low <= found.value <= found.high <= 1


def test_a_rate_judged_by_chance_is_missing_with_the_reason():
    found = corrected_rate(3, 10, BLIND)
    assert (found.value, found.low, found.high, found.n) == (None, None, None, 10)
    assert "no better than chance" in found.reason


def test_nothing_judged_gives_no_rate():
    assert corrected_rate(0, 0, GOOD).reason == "no response could be scored"


def test_hardly_any_labels_give_a_rate_without_interval():
    found = corrected_rate(3, 10, JudgeCalibration(2, 1, 380, 620))
    assert found.value is not None
    assert found.low is None
    assert "too few labelled responses" in found.reason


def test_more_successes_than_responses_are_refused():
    with pytest.raises(DataError, match="11 successes of 10 responses"):
        corrected_rate(11, 10, GOOD)


def test_drawn_judges_scatter_as_the_labelled_counts_allow():
    se, sp = draw_judges(GOOD, 20_000, seed=0)
    assert se.mean() == pytest.approx(0.9, abs=0.01)
    assert se.std() == pytest.approx(np.sqrt(0.9 * 0.1 / 100), rel=0.05)
    assert sp.std() == pytest.approx(np.sqrt(0.8 * 0.2 / 200), rel=0.05)


def test_a_judge_seen_without_error_may_still_err():
    se, _ = draw_judges(JudgeCalibration(20, 0, 20, 0), 1000, seed=0)
    assert np.quantile(se, 0.025) < 0.95
