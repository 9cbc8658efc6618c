import json

import numpy as np
import pytest
from scipy import stats

from demur.metrics import Estimate
from demur.report.stress import StressView
from demur.report.stress._cells import Cell, Cost, Curve, Point, join_points


def point(value, seconds=1.0, low=None, n=10, is_censored=False):
    return Point(4, Estimate(value, low, low, n), Cost(seconds=seconds), is_censored)


def test_seeds_join_to_their_mean_with_students_interval():
    values = [0.2, 0.4, 0.9]
    found = join_points([point(value) for value in values]).estimate
    low, high = stats.t.interval(0.95, 2, np.mean(values), stats.sem(values))
    assert (found.value, found.low, found.high) == pytest.approx((0.5, low, high))
    assert found.n == 30


def test_seeds_have_the_interval_of_the_level_asked_for(make_folder):
    points = [point(value) for value in (0.1, 0.4, 0.3, 0.2)]
    for level in (0.8, 0.99):
        found = join_points(points, level).estimate
        ends = stats.t.interval(level, 3, 0.25, np.std([0.1, 0.4, 0.3, 0.2], ddof=1) / 2)
        assert (found.low, found.high) == pytest.approx(ends)
    folder = make_folder(models=(("m", 1e8),), attacks=("lora",), seeds=(0, 1, 2, 3))
    path, widths = folder / "stress.json", []
    for level in (0.8, 0.99):
        path.write_text(json.dumps(json.loads(path.read_text()) | {"config": {"level": level}}))
        (curve, *_) = StressView(folder).curves("rd_all_median")
        widths.append(curve.points[3].estimate.high - curve.points[3].estimate.low)
    assert widths[1] / widths[0] == pytest.approx(stats.t.ppf(0.995, 3) / stats.t.ppf(0.9, 3))


def test_costs_are_means_and_one_stopped_seed_marks_all():
    found = join_points([point(0.1, 1.0), point(0.2, 3.0, is_censored=True)])
    assert (found.cost.seconds, found.cost.flops, found.is_censored) == (2.0, None, True)


def test_one_seed_keeps_its_own_interval():
    alone = point(0.3, low=0.1)
    assert join_points([alone]) is alone


def test_a_figure_no_seed_has_stays_missing_with_its_reason():
    missing = Point(4, Estimate(None, None, None, 0, "nothing was judged"))
    assert join_points([missing, missing]).estimate.reason == "nothing was judged"


def test_what_no_seed_draws_is_not_made_certain():
    found = join_points([point(9.0), point(9.0), point(9.0)]).estimate
    assert (found.value, found.low, found.n, found.reason) == (9.0, None, 10, "the same for every seed")


def test_a_setting_without_columns_of_its_own_is_the_variant():
    assert Cell("m", False, "prefill", variant="where=text", label="prefill=5").setting == "prefill=5, where=text"
    assert Cell("m", False, "lora", variant="rank=4", rank="4").setting == "rank 4"


def test_a_curve_has_steps_where_there_are_two():
    assert not Curve(Cell("m", False, "a"), (point(0.1), point(0.2)), {}).is_stepped
    assert Curve(Cell("m", False, "a"), (point(0.1),), {}).values == (0.1,)


def test_seeds_that_agree_to_the_last_digit_keep_the_interval_of_one():
    found = join_points([Point(4, Estimate(9.0, 8.0, 10.0, 10)) for _ in range(3)]).estimate
    assert (found.value, found.low, found.high, found.n) == (9.0, 8.0, 10.0, 10)


def test_a_variant_that_reads_like_another_is_named_by_its_id():
    cell = Cell("m", False, "lora", rank="4", variant_id="ab12", is_ambiguous=True)
    assert cell.setting == "rank 4, variant ab12"
