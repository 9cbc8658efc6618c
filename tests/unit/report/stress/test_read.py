import csv
import json

import pytest

from demur.errors import RunError
from demur.report.stress import StressView


def curve_of(view, metric, attack="lora", data="compliance", is_defended=False, **more):
    wanted = {"attack": attack, "data": data, "is_defended": is_defended, "model": "smol-135m", **more}
    (found,) = [
        curve
        for curve in view.curves(metric)
        if all(getattr(curve.cell, name) == value for name, value in wanted.items())
    ]
    return found


def test_curves_over_seeds_have_intervals_and_the_costs_of_the_grid(view):
    curve = curve_of(view, "rrr")
    assert [point.step for point in curve.points] == [0, 1, 2, 4, 8, 16, 32, 64, 128]
    assert all(point.estimate.low < point.estimate.value < point.estimate.high for point in curve.points[1:-1])
    assert curve.points[1].cost.flops == pytest.approx(4 * 1.35e8 * 1600)
    assert curve.points[1].cost.trainable == 5e5
    assert curve.parameters == 1.35e8


def test_each_seed_stands_alone_beside_them(view):
    curve = curve_of(view, "rrr")
    assert sorted(curve.seeds) == [0, 1, 2]
    means = [sum(seed[3].estimate.value for seed in curve.seeds.values()) / 3]
    assert means[0] == pytest.approx(curve.points[3].estimate.value)


def test_the_end_of_a_saturated_run_is_marked(view):
    assert curve_of(view, "rrr").points[-1].is_censored
    assert not curve_of(view, "rrr", data="benign").points[-1].is_censored


def test_what_is_not_pooled_is_the_mean_over_seeds_with_students_interval(view):
    point = curve_of(view, "rd_all_median").points[3]
    values = [seed[3].estimate.value for seed in curve_of(view, "rd_all_median").seeds.values()]
    assert point.estimate.value == pytest.approx(sum(values) / 3)
    assert point.estimate.low < min(values)
    assert point.estimate.reason == "Student's interval over 3 seeds"


def test_two_seeds_are_too_few_for_an_interval(make_folder):
    view = StressView(make_folder(seeds=(0, 1), attacks=("lora",), models=(("smol-135m", 1e8),)))
    estimate = curve_of(view, "rd_all_median").points[0].estimate
    assert (estimate.low, estimate.reason) == (None, "no interval over 2 seeds")


def test_the_first_judge_of_the_file_is_the_one_shown(view):
    assert (view.judge, view.judges) == ("classifier", ["classifier", "keywords"])
    ours, theirs = (view.curves("complied", judge)[0].points[0].estimate.value for judge in (None, "keywords"))
    assert theirs > ours


def test_models_attacks_and_seeds_are_in_the_order_of_the_file(view):
    assert view.models == ["smol-135m", "smol-360m"]
    assert view.attacks[0] == "direct"
    assert view.seeds == ["0", "1", "2"]
    assert view.has_defence


def test_settings_read_as_people_say_them(view):
    assert curve_of(view, "rrr").cell.setting == "compliance, rank 16, rate 0.0002"
    assert view.curves("rrr")[1].cell.setting == "prefill=5"


def test_budgets_of_half_are_numbers_or_bounds(view):
    found = {(half.cell.attack, half.cell.data, half.bound) for half in view.c50s()}
    assert ("lora", "compliance", "") in found
    assert ("lora", "benign", "above") in found


def test_differences_are_of_the_hardened_model(view):
    found = view.differences("complied")
    assert found
    assert all(one.cell.is_defended for one in found)
    assert found[0].estimate.value == pytest.approx(found[0].hardened - found[0].base)
    assert view.differences("complied", to="untampered base") == []


def test_a_folder_without_a_grid_is_refused(tmp_path):
    with pytest.raises(RunError, match=r"holds no results/metrics/results_grid.csv; give the folder of a run"):
        assert StressView(tmp_path).rows


def test_a_grid_without_its_columns_is_refused(tmp_path):
    path = tmp_path / "results/metrics/results_grid.csv"
    path.parent.mkdir(parents=True)
    path.write_text("model,attack\na,b\n")
    with pytest.raises(RunError, match=r"lacks the columns metric, value; run demur stress again"):
        assert StressView(tmp_path).rows


def test_columns_that_are_missing_are_empty(tmp_path):
    path = tmp_path / "results/metrics/results_grid.csv"
    path.parent.mkdir(parents=True)
    with path.open("w", newline="") as handle:
        csv.writer(handle).writerows([("model", "attack", "metric", "value"), ("a", "b", "rrr", "0.5")])
    (curve,) = StressView(tmp_path).curves("rrr")
    assert (curve.points[0].step, curve.points[0].estimate.value, curve.points[0].cost.flops) == (0, 0.5, None)


def test_a_damaged_summary_is_named_and_the_figures_stay(make_folder):
    folder = make_folder(attacks=("direct",))
    (folder / "results/metrics/summary.json").write_text("{")
    view = StressView(folder)
    assert view.summary == {}
    assert view.problems[0].startswith("summary.json could not be read")
    assert view.curves("rrr")


def test_without_words_the_name_is_the_folder_s(make_folder):
    view = StressView(make_folder(attacks=("direct",), is_told=False))
    assert (view.name, view.level_words, view.config) == ("other", "95 %", {})


def test_the_level_is_the_run_s(make_folder):
    folder = make_folder(attacks=("direct",))
    about = json.loads((folder / "stress.json").read_text())
    about["config"]["level"] = 0.9
    (folder / "stress.json").write_text(json.dumps(about))
    assert StressView(folder).level_words == "90 %"


def test_variants_that_read_alike_are_kept_apart_and_named(make_folder):
    folder = make_folder(models=(("m", 1e8),), defended=(False,), attacks=("lora",))
    for name in ("results_grid", "results_curves", "results_c50"):
        path = folder / f"results/metrics/{name}.csv"
        with path.open(newline="") as handle:
            rows = list(csv.DictReader(handle))
        with path.open("w", newline="") as handle:
            table = csv.DictWriter(handle, [*rows[0], "variant_id"])
            table.writeheader()
            table.writerows([row | {"variant_id": one} for one in ("aa", "bb") for row in rows])
    view = StressView(folder)
    found = [curve.cell for curve in view.curves("rrr") if curve.cell.data == "benign"]
    assert [cell.setting for cell in found] == [
        f"benign, rank 16, rate 0.0002, variant {one}" for one in ("aa", "bb")
    ]
    assert {half.cell for half in view.c50s()} >= set(found)


def test_the_figure_as_the_judge_gave_it_is_kept(make_folder):
    folder = make_folder(models=(("m", 1e8),), defended=(False,), attacks=("direct",))
    path = folder / "results/metrics/results_curves.csv"
    lines = path.read_text().splitlines()
    path.write_text("\n".join([f"{lines[0]},uncorrected", *(f"{line},0.25" for line in lines[1:])]))
    assert StressView(folder).curves("rrr")[0].points[0].uncorrected == 0.25
