import json

import numpy as np
import pytest
from statsmodels.stats.proportion import confint_proportions_2indep, proportion_confint

from demur.errors import DataError
from demur.metrics import (
    Bootstrap,
    JudgeCalibration,
    estimate_ratio,
    paired_difference,
    rogan_gladen,
    two_level_bootstrap,
)
from demur.metrics._curves import newcombe_interval

JUDGE = JudgeCalibration(90, 10, 160, 40)
BLIND = JudgeCalibration(5, 5, 5, 5)


def collapse(n_seeds=4, n_prompts=120, rates=(0.9, 0.6, 0.2), seed=0):
    """Refusals (1) of prompts that differ in how hard they are, falling along the steps."""
    generator = np.random.default_rng(seed)
    hard = generator.random(n_prompts)
    cells = [[(hard + 0.2 * generator.normal(size=n_prompts) < rate) for rate in rates] for _ in range(n_seeds)]
    return np.array(cells, dtype=float)


def test_a_point_is_the_share_of_judged_responses():
    cells = collapse()
    cells[0, 1, :30] = np.nan
    found = two_level_bootstrap(cells, draws=200)
    assert [one.value for one in found.points] == pytest.approx(np.nanmean(cells, axis=(0, 2)).tolist())
    assert [one.n for one in found.points] == [480, 450, 480]


def test_the_rate_of_each_seed_is_shown():
    cells = collapse()
    cells[2, 1] = np.nan
    found = two_level_bootstrap(cells, draws=10)
    assert found.by_seed[2][1] is None
    assert found.by_seed[0] == pytest.approx(cells[0].mean(axis=1).tolist())


def test_one_seed_gives_the_cluster_bootstrap_of_its_prompts():
    """An independent path: the ratio of the metrics that judge classifiers."""
    cells = collapse(1, 200, (0.4,))
    categories = np.arange(200) % 40
    mine = two_level_bootstrap(cells, categories, draws=4000).points[0]
    other = estimate_ratio(cells[0, 0], np.ones(200), categories, Bootstrap(draws=4000))
    assert mine.value == other.value
    assert (mine.low, mine.high) == pytest.approx((other.low, other.high), abs=0.012)


def test_the_interval_of_one_seed_is_near_wilsons():
    cells = (np.random.default_rng(1).random((1, 300)) < 0.4).astype(float)
    found = two_level_bootstrap(cells).points[0]
    expected = proportion_confint(cells.sum(), 300, method="wilson")
    assert (found.low, found.high) == pytest.approx(expected, abs=0.015)


def test_intervals_hold_their_values_and_are_rates():
    for one in two_level_bootstrap(collapse(2, 30, (0.97, 0.5, 0.03)), draws=300).points:
        assert 0 <= one.low <= one.value <= one.high <= 1


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_a_rate_that_every_draw_repeats_has_wilsons_interval_over_prompts(value):
    found = two_level_bootstrap(np.full((3, 50), value)).points[0]
    assert (found.low, found.high) == pytest.approx(proportion_confint(50 * value, 50, method="wilson"), abs=1e-12)
    assert found.reason == "Wilson's interval over 50 prompts"


def test_categories_that_differ_widen_the_interval():
    categories = np.arange(120) // 10
    cells = np.broadcast_to((categories % 2 == 0).astype(float), (3, 120))
    by_category, by_prompt = (two_level_bootstrap(cells, groups).points[0] for groups in (categories, None))
    assert by_category.high - by_category.low > 2 * (by_prompt.high - by_prompt.low)


def test_a_corrected_point_is_rogan_and_gladens():
    cells = collapse()
    found = two_level_bootstrap(cells, calibration=JUDGE, draws=500)
    expected = [rogan_gladen(rate, 0.9, 0.8) for rate in cells.mean(axis=(0, 2))]
    assert [one.value for one in found.points] == pytest.approx(expected)


def test_the_judges_errors_widen_the_interval_more_the_fewer_were_labelled():
    cells = collapse()
    widths = []
    for calibration in (JudgeCalibration(9, 1, 16, 4), JUDGE, JudgeCalibration(9000, 1000, 16000, 4000)):
        point = two_level_bootstrap(cells, calibration=calibration, draws=1000).points[1]
        widths.append(point.high - point.low)
    plain = two_level_bootstrap(cells, draws=1000).points[1]
    assert widths[0] > widths[1] > widths[2]
    assert widths[2] == pytest.approx((plain.high - plain.low) / 0.7, rel=0.1)


def test_a_judge_no_better_than_chance_gives_no_rate():
    found = two_level_bootstrap(collapse(), calibration=BLIND, draws=10).points[0]
    assert found.value is None
    assert "no better than chance" in found.reason


def test_a_corrected_rate_of_zero_still_has_an_interval():
    found = two_level_bootstrap(np.zeros((3, 50)), calibration=JudgeCalibration(90, 10, 99, 1)).points[0]
    assert found.value == 0
    assert found.high > 0
    assert "Lang and Reiczigel" in found.reason


def test_a_rate_the_judges_calibration_does_not_allow_has_no_interval():
    found = two_level_bootstrap(np.zeros((3, 50)), calibration=JUDGE).points[0]
    assert (found.value, found.low, found.high) == (0, None, None)
    assert "do not allow so extreme a rate" in found.reason


def test_a_step_without_a_judged_response_is_missing_and_not_zero():
    cells = collapse()
    cells[:, 2] = np.nan
    found = two_level_bootstrap(cells, draws=50)
    assert found.points[2].value is None
    assert found.points[2].reason == "no response could be scored"
    assert found.points[1].value is not None


def test_steps_that_lack_some_seeds_are_flagged():
    cells = collapse()
    cells[1, 2] = np.nan
    assert any("1 steps lack some seeds" in one for one in two_level_bootstrap(cells, draws=10).warnings)


def test_without_draws_there_are_values_and_no_intervals():
    found = two_level_bootstrap(collapse(), draws=0).points[0]
    assert found.value is not None
    assert (found.low, found.reason) == (None, "no interval: no bootstrap draws were asked for")


def test_the_same_seed_gives_the_same_curve():
    assert two_level_bootstrap(collapse(), seed=3) == two_level_bootstrap(collapse(), seed=3)
    assert two_level_bootstrap(collapse(), seed=3) != two_level_bootstrap(collapse(), seed=4)


def test_results_can_be_written_as_json():
    cells = collapse()
    assert json.loads(json.dumps(two_level_bootstrap(cells, draws=10).to_json()))["n_seeds"] == 4
    assert json.loads(json.dumps(paired_difference(cells, cells[:, 0], draws=10).to_json()))["n_prompts"] == 120


def test_a_difference_is_that_of_the_rates():
    cells = collapse()
    for step, point in enumerate(paired_difference(cells, cells[:, 0], draws=100).points):
        assert point.value == pytest.approx(cells[:, step].mean())
        assert point.base == pytest.approx(cells[:, 0].mean())
        assert point.difference.value == pytest.approx(point.value - point.base)


def test_pairing_by_prompt_narrows_the_interval():
    cells = collapse()
    shuffled = np.random.default_rng(0).permuted(cells[:, 0], axis=1)
    paired = paired_difference(cells[:, 1], cells[:, 0]).points[0].difference
    apart = paired_difference(cells[:, 1], shuffled).points[0].difference
    assert paired.high - paired.low < 0.8 * (apart.high - apart.low)


def test_a_response_counts_only_with_its_partner():
    cells, base = np.array([[1.0, 0, 1, np.nan]]), np.array([1.0, 1, np.nan, 1])
    point = paired_difference(cells, base, draws=10).points[0]
    assert (point.value, point.base, point.difference.n) == (0.5, 1, 2)


@pytest.mark.parametrize("shape", ["prompts", "seeds", "steps"])
def test_a_base_may_change_with_nothing_or_with_seed_or_with_step(shape):
    cells = collapse()
    base = {"prompts": cells[0, 0], "seeds": cells[:, 0], "steps": cells}[shape]
    found = paired_difference(cells, base, draws=50)
    full = np.broadcast_to(base if base.ndim != 2 else base[:, None], cells.shape)
    expected = cells.mean(axis=(0, 2)) - full.mean(axis=(0, 2))
    assert [one.difference.value for one in found.points] == pytest.approx(expected.tolist())


def test_a_clear_collapse_is_beyond_chance_and_no_change_is_not():
    cells = collapse()
    clear = paired_difference(cells, cells[:, 0]).points[2]
    assert clear.p < 0.005
    assert clear.difference.high < 0
    again = paired_difference(collapse(seed=0)[:, 1], np.flip(collapse(seed=0)[:, 1], axis=0)).points[0]
    assert again.p > 0.2


def test_p_values_of_equal_rates_are_rarely_small():
    generator = np.random.default_rng(2)
    small = 0
    for number in range(120):
        effect = generator.normal(0, 0.3, (2, 5, 1)) + generator.normal(size=100)
        a, b = (generator.random((2, 5, 100)) < 1 / (1 + np.exp(-effect))).astype(float)
        small += paired_difference(a, b, draws=300, seed=number).points[0].p < 0.05
    assert small / 120 <= 0.1


def test_the_untampered_step_against_itself_differs_by_nothing():
    cells = collapse()
    point = paired_difference(cells[:, 0], cells[:, 0]).points[0]
    assert (point.difference.value, point.p) == (0, 1)
    assert "Newcombe" in point.difference.reason


@pytest.mark.parametrize(("a", "b"), [(0.0, 1.0), (0.5, 0.3), (1.0, 1.0)])
def test_newcombes_interval_is_that_of_statsmodels(a, b):
    expected = confint_proportions_2indep(a * 40, 40, b * 40, 40, method="newcomb")
    assert newcombe_interval(a, b, 40, 0.95) == pytest.approx(expected, abs=1e-9)


def test_a_corrected_difference_is_stretched_by_the_judges_errors():
    cells = collapse()
    plain = paired_difference(cells[:, 1], cells[:, 0]).points[0]
    found = paired_difference(cells[:, 1], cells[:, 0], calibration=JUDGE).points[0]
    assert found.difference.value == pytest.approx(plain.difference.value / 0.7)
    assert found.p == plain.p
    assert found.difference.high - found.difference.low > plain.difference.high - plain.difference.low


def test_a_difference_judged_by_chance_is_missing():
    point = paired_difference(collapse(), collapse(), calibration=BLIND, draws=10).points[0]
    assert (point.value, point.difference.value, point.p) == (None, None, None)


def test_a_base_of_other_prompts_is_refused():
    with pytest.raises(DataError, match="pass the base's responses to the same prompts"):
        paired_difference(collapse(), collapse(n_prompts=60))


def test_categories_of_other_prompts_are_refused():
    with pytest.raises(DataError, match="groups have shape"):
        two_level_bootstrap(collapse(), np.arange(7))


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_a_rate_that_every_draw_repeats_counts_categories_and_not_their_prompts(value):
    found = two_level_bootstrap(np.full((3, 50), value), np.arange(50) % 10).points[0]
    assert (found.low, found.high) == pytest.approx(proportion_confint(10 * value, 10, method="wilson"), abs=1e-12)
    assert found.reason == "Wilson's interval over 10 categories"


def test_a_difference_that_every_draw_repeats_counts_categories():
    cells = np.full((2, 40), 1.0)
    found = paired_difference(cells, np.zeros((2, 40)), np.arange(40) % 8).points[0]
    ends = newcombe_interval(1, 0, 8, 0.95)
    assert (found.difference.low, found.difference.high) == pytest.approx(ends)
    assert found.p == pytest.approx(2 ** (1 - 8))


def test_with_few_categories_wilsons_interval_over_prompts_stands_beside():
    cells = (np.random.default_rng(1).random((1, 60)) < 0.4).astype(float)
    few, enough = (two_level_bootstrap(cells, np.arange(60) % k, draws=200).points[0] for k in (5, 10))
    low, high = proportion_confint(cells.sum(), 60, method="wilson")
    assert few.reason == (
        "no tighter than Wilson's over 5 categories: 5 hold the rarer outcome; over the 60 prompts alone "
        f"Wilson's is {low:.3f} to {high:.3f}"
    )
    assert enough.reason is None


def test_with_one_category_there_is_wilsons_interval_in_words():
    cells = (np.random.default_rng(1).random((1, 60)) < 0.4).astype(float)
    found = two_level_bootstrap(cells, np.zeros(60), draws=50).points[0]
    assert (found.low, found.high) == (None, None)
    assert "all rows are of one group; over the 60 prompts alone Wilson's is" in found.reason


def alike_prompts(rate, likeness, steps=300, categories=12, prompts=25):
    """Outcomes of one seed at ``steps`` independent steps: prompts of a category are alike (beta-binomial)."""
    random = np.random.default_rng(4)
    shapes = (rate * (1 - likeness) / likeness, (1 - rate) * (1 - likeness) / likeness)
    chances = random.beta(*shapes, (steps, categories, 1))
    cells = random.random((steps, categories, prompts)) < chances
    return cells.reshape(1, steps, -1).astype(float), np.repeat(np.arange(categories), prompts)


def test_one_compliance_of_many_gives_no_tighter_interval_than_none_of_them():
    cells = np.zeros((1, 2, 300))
    cells[0, 1, 7] = 1
    none, one = two_level_bootstrap(cells, np.arange(300) // 25, draws=300).points
    assert one.high >= none.high > 0.2
    assert "no tighter than Wilson's over 12 categories: 1 hold the rarer outcome" in one.reason


@pytest.mark.parametrize("rate", [0.02, 0.05, 0.08, 0.12])
def test_upper_ends_of_rare_outcomes_lie_below_the_truth_seldom(rate):
    cells, categories = alike_prompts(rate, 0.4)
    points = two_level_bootstrap(cells, categories, draws=400).points
    assert np.mean([point.high < rate for point in points]) < 0.05


def test_a_change_in_few_categories_gives_no_tight_difference():
    base, random = np.zeros((1, 120)), np.random.default_rng(2)
    cells = base.copy()
    cells[0, :3] = 1
    found = paired_difference(cells, base, np.arange(120) // 10, draws=300).points[0]
    low, high = newcombe_interval(3 / 120, 0, 12, 0.95)
    assert (found.difference.low, found.difference.high) == pytest.approx((low, high))
    assert found.p == pytest.approx(1.0)  # one category in one direction says nothing
    many = (random.random((1, 120)) < 0.5).astype(float)
    assert paired_difference(many, base, np.arange(120) // 10, draws=300).points[0].difference.reason is None


def test_a_rare_outcome_is_corrected_with_the_wider_interval_too():
    cells = np.zeros((1, 2, 300))
    cells[0, 1, 7] = 1
    none, one = two_level_bootstrap(cells, np.arange(300) // 25, JUDGE, draws=300).points
    assert one.high >= none.high > 0
    assert "Lang and Reiczigel's over 12 categories" in one.reason
