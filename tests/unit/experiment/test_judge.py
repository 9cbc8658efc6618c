"""Tests of figures from predictions: pooled, by fold, over folds, over seeds."""

import numpy as np
import polars as pl
import pytest
from sklearn.metrics import f1_score

from demur.experiment._judge import judge_frame, judge_protocol, judge_seeds, spread
from demur.tasks import BUILT_IN

REFUSAL = BUILT_IN["refusal"]


def frame_of(n=60, seed=0, folds=3, classes=3):
    """Predictions of ``n`` rows, each its own group, in folds."""
    generator = np.random.default_rng(seed)
    probabilities = generator.dirichlet([1, 1, 1], n)
    columns = {f"p_{number}": probabilities[:, number] for number in range(3)}
    return pl.DataFrame(
        {
            "id": [f"r{number}" for number in range(n)],
            "group": [f"g{number}" for number in range(n)],
            "fold": [str(number % folds + 1) for number in range(n)],
            "y": generator.integers(0, classes, n),
        }
        | columns
    )


def macro(frame):
    guessed = frame.select("p_0", "p_1", "p_2").to_numpy().argmax(axis=1)
    return f1_score(frame["y"], guessed, average="macro")


def test_the_pooled_figure_is_scikit_learns_over_all_folds(tiny):
    frame = frame_of()
    found = judge_protocol(REFUSAL, "cv", frame, tiny(), [])
    assert found["metrics"]["f1_macro"]["value"] == pytest.approx(macro(frame))
    assert found["n"] == 60


def test_mean_and_deviation_over_folds_are_numpys(tiny):
    frame = frame_of()
    found = judge_protocol(REFUSAL, "cv", frame, tiny(), [])
    values = [macro(frame.filter(pl.col("fold") == str(fold))) for fold in (1, 2, 3)]
    figure = found["over_folds"]["f1_macro"]
    assert (figure["mean"], figure["std"]) == pytest.approx((np.mean(values), np.std(values, ddof=1)))
    assert figure["n"] == 3
    assert found["folds"]["2"]["metrics"]["f1_macro"]["low"] is None


def test_reported_rows_are_not_chosen_on(tiny):
    frame = frame_of()
    found = judge_protocol(REFUSAL, "cv", frame, tiny(), frame["id"].to_list()[:20])
    assert found["choosing"]["metrics"]["f1_macro"]["value"] == pytest.approx(macro(frame[20:]))


def test_held_out_values_have_intervals_of_their_own(tiny):
    found = judge_protocol(REFUSAL, "leave_one_model_out", frame_of(), tiny(), [])
    assert found["folds"]["1"]["metrics"]["f1_macro"]["low"] is not None
    assert "over_folds" not in found


def test_a_fold_of_one_class_has_a_defined_score_and_warnings(tiny):
    found = judge_protocol(REFUSAL, "cv", frame_of(classes=1), tiny(), [])
    assert np.isfinite(found["over_folds"]["custom_score"]["mean"])
    assert found["folds"]["1"]["warnings"]


def test_seeds_are_summed_up_by_protocol(tiny):
    frames = {seed: {"test": frame_of(seed=seed)} for seed in (5, 6, 7)}
    found = judge_seeds(REFUSAL, frames, tiny())
    values = [macro(frame["test"]) for frame in frames.values()]
    figure = found["evaluations"]["test"]["f1_macro"]
    assert figure["values"] == pytest.approx(values)
    assert figure["std"] == pytest.approx(np.std(values, ddof=1))
    assert (found["seeds"], found["saved"], found["n"]) == ([5, 6, 7], 5, 3)


def test_one_seed_has_no_spread(tiny):
    assert judge_seeds(REFUSAL, {5: {"test": frame_of()}}, tiny()) is None


def test_figures_that_are_missing_are_left_out_of_the_mean():
    known = {"metrics": {"a": {"value": 1.0}, "b": {"value": None}}}
    other = {"metrics": {"a": {"value": None}, "b": {"value": None}}}
    assert spread([known, other], keep=True) == {"a": {"mean": 1.0, "std": None, "n": 1, "values": [1.0, None]}}


def test_draws_of_the_configuration_are_taken_unless_others_are_asked_for(tiny):
    assert judge_frame(REFUSAL, frame_of(), tiny())["metrics"]["accuracy"]["low"] is not None
    assert judge_frame(REFUSAL, frame_of(), tiny(), draws=0)["metrics"]["accuracy"]["low"] is None
