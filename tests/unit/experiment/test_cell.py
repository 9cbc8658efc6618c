"""Tests of one cell: a model that fails is a row, a killed one goes on, nothing done is fitted again."""

import errno
import json
import os
import re
from typing import ClassVar

import numpy as np
import polars as pl
import pytest

import demur
from demur.errors import MissingDependencyError, MissingModelError, StorageError, TrainingError
from demur.experiment import _cell as cells
from demur.experiment._cell import run_cell
from demur.experiment._folder import RunFolder
from demur.experiment._plan import Cell
from demur.models import BaseClassifier
from demur.models.classical import ClassicalClassifier

PARTS = {"leave_one_out": ["model"], "cv": 2}


def kill_at(number):
    """A listener that ends the cell at its n-th step, as Ctrl-C does."""
    steps = []

    def step(words):
        steps.append(words)
        if len(steps) == number:
            raise KeyboardInterrupt("at a step")

    return step


def silent(words):
    pass


def test_a_cell_gives_figures_costs_and_a_saved_model(cell):
    one = cell()
    result = run_cell(one, silent)
    assert (result["status"], result["reason"], result["family"]) == ("ok", None, "classical")
    assert set(result["evaluations"]) == {"valid", "test"}
    assert result["evaluations"]["test"]["n"] == len(one.data.main.test)
    for cost in ("fit_s", "latency_ms_p50", "latency_ms_p95", "throughput_per_s", "peak_memory_mb", "size_mb"):
        assert result[cost] > 0, cost
    assert one.folder.has_model("refusal", "tfidf_logreg", one.key)


def test_predictions_are_written_for_every_protocol(cell):
    one = cell(validation=PARTS)
    run_cell(one, silent)
    for protocol, rows in (("test", one.data.main.test), ("cv", range(120)), ("leave_one_model_out", range(120))):
        frame = pl.read_parquet(one.folder.predictions("refusal", "tfidf_logreg", protocol))
        assert frame.columns == ["id", "group", "source", "answerer", "fold", "y", "p_0", "p_1", "p_2"]
        assert len(frame) == len(rows)
        assert frame.select(pl.sum_horizontal("p_0", "p_1", "p_2")).to_numpy() == pytest.approx(1)
    assert set(frame["fold"]) == set(frame["answerer"]) == {"ada", "bob"}


def test_held_out_values_have_figures_of_their_own(cell):
    result = run_cell(cell(validation=PARTS), silent)
    folds = result["evaluations"]["leave_one_model_out"]["folds"]
    assert {name: fold["n"] for name, fold in folds.items()} == {"ada": 60, "bob": 60}


def test_folds_of_cross_validation_have_figures_a_mean_and_a_deviation(cell):
    cv = run_cell(cell(validation={"leave_one_out": [], "cv": 3}), silent)["evaluations"]["cv"]
    values = [fold["metrics"]["f1_macro"]["value"] for fold in cv["folds"].values()]
    assert list(cv["folds"]) == ["1", "2", "3"]
    assert cv["over_folds"]["f1_macro"]["mean"] == pytest.approx(np.mean(values))
    assert cv["over_folds"]["f1_macro"]["std"] == pytest.approx(np.std(values, ddof=1))


def test_of_the_cross_validated_rows_test_and_validation_rows_are_left_out_for_choosing(cell):
    one = cell(validation=PARTS)
    for result in (run_cell(one, silent), run_cell(one, silent)):
        cv = result["evaluations"]["cv"]
        assert (cv["n"], cv["choosing"]["n"]) == (120, len(one.data.main.train))


def test_predictions_that_are_gone_come_back_without_a_fit(cell, fits):
    one = cell(validation=PARTS)
    run_cell(one, silent)
    path = one.folder.predictions("refusal", "tfidf_logreg", "cv")
    before = path.read_bytes()
    path.unlink()
    fits.clear()
    assert run_cell(one, silent)["status"] == "ok"
    assert (fits, path.read_bytes()) == ([], before)


def test_a_fit_whose_part_is_gone_is_fitted_again_alone(cell, fits):
    one = cell(validation=PARTS)
    run_cell(one, silent)
    one.path_of(one.parts[0], "cv").unlink()
    fits.clear()
    assert run_cell(cell(validation=PARTS), silent)["status"] == "ok"
    assert fits == ["classical"]


def test_a_further_protocol_costs_its_own_fits_alone(cell, fits):
    run_cell(cell(validation={"leave_one_out": []}), silent)
    fits.clear()
    assert set(run_cell(cell(validation=PARTS), silent)["evaluations"]) == {
        *("valid", "test", "cv", "leave_one_model_out")
    }
    assert len(fits) == 4


@pytest.mark.parametrize("change", [{"draws": 60}, {"level": 0.9}])
def test_other_intervals_cost_no_fit(cell, fits, change):
    before = run_cell(cell(), silent)["evaluations"]["test"]["metrics"]
    fits.clear()
    after = run_cell(cell(**change), silent)["evaluations"]["test"]["metrics"]
    assert fits == []
    assert {name: found["value"] for name, found in after.items()} == {
        name: found["value"] for name, found in before.items()
    }
    assert after != before


def test_further_seeds_are_fitted_on_the_same_rows_and_summed_up(cell, fits):
    run_cell(cell(), silent)
    fits.clear()
    result = run_cell(cell("tfidf_forest", seeds=[7, 8, 9]), silent)
    assert len(fits) == 3
    seeds = result["seeds"]
    assert (seeds["seeds"], seeds["n"], seeds["saved"]) == ([7, 8, 9], 3, 7)
    figure = seeds["evaluations"]["test"]["custom_score"]
    assert figure["values"][0] == result["evaluations"]["test"]["metrics"]["custom_score"]["value"]
    assert figure["mean"] == pytest.approx(np.mean(figure["values"]))
    assert figure["std"] == pytest.approx(np.std(figure["values"], ddof=1))


def test_another_seed_costs_its_own_fit_alone(cell, fits):
    run_cell(cell("tfidf_forest", seeds=[7, 8]), silent)
    fits.clear()
    run_cell(cell("tfidf_forest", seeds=[7, 8, 9]), silent)
    assert len(fits) == 1


def test_a_model_without_chance_is_fitted_with_one_seed(cell, fits):
    result = run_cell(cell("rules", seeds=[7, 8, 9]), silent)
    assert (fits, result["seeds"]) == (["rules"], None)


def test_the_saved_model_is_of_the_first_seed(cell):
    one = cell(seed=3, seeds=[11, 12])
    run_cell(one, silent)
    manifest = json.loads((one.folder.model("refusal", "tfidf_logreg") / "demur.json").read_text())
    assert manifest["seed"] == 11


def test_predictions_of_a_protocol_that_was_turned_off_are_gone(cell, break_family):
    one = cell(validation=PARTS)
    folder = one.folder.predictions("refusal", "tfidf_logreg", "cv").parent
    run_cell(one, silent)
    run_cell(cell(), silent)
    assert {path.stem for path in folder.iterdir()} == {"valid", "test"}
    break_family("_fit", ValueError("no"))
    run_cell(cell(seed=8), silent)
    assert list(folder.iterdir()) == []


def test_each_fit_is_one_step(cell):
    one, steps = cell(validation=PARTS), []
    run_cell(one, steps.append)
    assert len(steps) == one.fits() == 5
    assert steps[0] == "refusal · tfidf_logreg"
    assert steps[-1] == "refusal · tfidf_logreg · leave one model out bob"


def test_a_model_may_go_through_some_protocols_only(cell):
    one = cell({"preset": "tfidf_nb", "protocols": ["cv"]}, validation=PARTS)
    assert set(run_cell(one, silent)["evaluations"]) == {"valid", "test", "cv"}


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        (ValueError("the matrix\nis odd"), "ValueError: the matrix is odd"),
        (
            MemoryError(),
            "MemoryError: the machine has too little memory for it; take fewer rows, .* or a smaller model",
        ),
        (RuntimeError(), "RuntimeError"),
        (OSError(errno.EIO, "Input/output error"), "OSError: .*Input/output error"),
    ],
)
def test_a_model_that_fails_is_a_result_with_the_reason(cell, break_family, fault, reason):
    break_family("_fit", fault)
    one = cell()
    result = run_cell(one, silent)
    assert result["status"] == "failed"
    assert re.fullmatch(reason, result["reason"])
    assert result["evaluations"] == {}
    assert result["fit_s"] is None


def test_a_failure_while_saving_leaves_no_model(cell, break_family):
    break_family("_write", ValueError("cannot be written"))
    one = cell()
    assert run_cell(one, silent)["reason"] == "ValueError: cannot be written"
    assert not one.folder.model("refusal", "tfidf_logreg").exists()


def test_a_failure_in_a_late_protocol_leaves_no_model(cell, monkeypatch):
    monkeypatch.setattr(cells, "_fit_part", lambda *arguments: 1 / 0)
    one = cell(validation=PARTS)
    assert run_cell(one, silent)["reason"] == "cv 1: ZeroDivisionError: division by zero"
    assert not one.folder.model("refusal", "tfidf_logreg").exists()


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_probabilities_that_are_no_numbers_fail_the_model_in_plain_words(cell, break_family, value):
    break_family("_predict", lambda records: np.full((len(records), 3), value))
    result = run_cell(cell(), silent)
    assert result["status"] == "failed"
    assert result["reason"].startswith("the fitted model gives NaN or infinite probabilities for 18 of 18 rows")


def test_probabilities_that_do_not_sum_to_one_fail_the_model(cell, break_family):
    break_family("_predict", lambda records: np.full((len(records), 3), 0.9))
    assert "do not sum to 1" in run_cell(cell(), silent)["reason"]


def test_a_long_reason_is_cut(cell, break_family):
    break_family("_fit", ValueError("x" * 5000))
    assert len(run_cell(cell(), silent)["reason"]) == 500


def test_a_failed_model_is_tried_again(cell, monkeypatch):
    with monkeypatch.context() as context:
        context.setattr(ClassicalClassifier, "_fit", lambda *arguments: 1 / 0)
        assert run_cell(cell(), silent)["status"] == "failed"
    assert run_cell(cell(), silent)["status"] == "ok"


@pytest.mark.parametrize(
    "fault", [OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)), StorageError("no disk space left")]
)
def test_a_full_disk_ends_the_run(cell, break_family, fault):
    break_family("_fit", fault)
    with pytest.raises(StorageError, match="no disk space left"):
        run_cell(cell(), silent)


def test_an_interruption_ends_the_run(cell):
    with pytest.raises(KeyboardInterrupt, match="at a step"):
        run_cell(cell(), kill_at(1))


def test_a_finished_cell_is_not_fitted_again(cell, fits):
    before = run_cell(cell(), silent)
    fits.clear()
    steps = []
    again = run_cell(cell(), steps.append)
    assert fits == []
    assert steps == ["refusal · tfidf_logreg (done before)"]
    assert again["evaluations"] == before["evaluations"]


def test_a_killed_cell_goes_on_with_the_fits_it_has(cell, fits):
    for step, done in ((2, ["classical"]), (4, ["classical", "classical"]), (99, ["classical", "classical"])):
        fits.clear()
        if step == 99:
            assert run_cell(cell(validation=PARTS), silent)["status"] == "ok"
        else:
            with pytest.raises(KeyboardInterrupt, match="at a step"):
                run_cell(cell(validation=PARTS), kill_at(step))
        assert fits == done


def test_a_killed_cell_ends_with_the_result_of_an_unbroken_one(cell, tmp_path):
    with pytest.raises(KeyboardInterrupt, match="at a step"):
        run_cell(cell(validation=PARTS), kill_at(4))
    resumed = run_cell(cell(validation=PARTS), silent)
    one = cell(validation=PARTS)
    fresh = Cell(one.spec, one.data, one.config, RunFolder(tmp_path / "fresh"), one.versions)
    unbroken = run_cell(fresh, silent)
    for result in (resumed, unbroken):
        for cost in ("fit_s", "latency_ms_p50", "latency_ms_p95", "throughput_per_s", "peak_memory_mb"):
            del result[cost]
        result["features"] = {label: [list(pair) for pair in pairs] for label, pairs in result["features"].items()}
    assert resumed == unbroken


def test_parts_of_other_settings_are_gone_once_the_cell_is_done(cell):
    run_cell(cell(seed=8, validation=PARTS), silent)
    one = cell(validation=PARTS)
    run_cell(one, silent)
    kept = {path for path in one.facts_path.parent.rglob("*") if path.is_file()}
    assert kept == {path for part in (None, *one.parts) for path in one.files_of(part)}
    assert not one.work.exists()


@pytest.mark.parametrize("name", ["model.skops", "vocabulary.json", "demur.json"])
def test_a_finished_cell_whose_model_lost_a_file_is_fitted_again(cell, fits, name):
    one = cell()
    run_cell(one, silent)
    (one.folder.model("refusal", "tfidf_logreg") / name).unlink()
    fits.clear()
    assert run_cell(cell(), silent)["reason"] is None
    assert fits == ["classical"]
    assert one.folder.has_model("refusal", "tfidf_logreg", one.key)


def test_going_back_to_earlier_settings_does_not_take_another_runs_model(cell):
    """Run with seed 1, begin with seed 2 until its model is saved, go back: the model must be of seed 1."""
    run_cell(cell(seed=1), silent)
    with pytest.raises(KeyboardInterrupt, match="at a step"):
        run_cell(cell(seed=2, validation=PARTS), kill_at(2))
    one = cell(seed=1)
    run_cell(one, silent)
    assert one.folder.has_model("refusal", "tfidf_logreg", one.key)


@pytest.mark.parametrize(
    ("fault", "status"),
    [
        (MissingDependencyError("install it with: pip install 'demur[torch]'"), "skipped"),
        (MissingModelError("no hub can be reached for 'a/b'", "a/b"), "skipped"),
        (TrainingError("the loss became nan at step 3; lower train.learning_rate"), "failed"),
    ],
)
def test_what_is_missing_skips_a_model_and_what_goes_wrong_fails_it(cell, break_family, fault, status):
    break_family("_fit", fault)
    result = run_cell(cell(), silent)
    assert (result["status"], result["reason"]) == (status, str(fault))


class Resuming(BaseClassifier):
    """Leaves a mark in its checkpoint folder, and says what it found there."""

    family = "resuming"
    config_type = ClassicalClassifier.config_type
    found: ClassVar[list[bool]] = []

    def _fit(self, train, targets, valid):
        mark = self.checkpoint_folder / "mark"
        self.found.append(mark.exists())
        mark.parent.mkdir(parents=True, exist_ok=True)
        mark.touch()
        if len(self.found) == 1:
            raise KeyboardInterrupt("in the middle of a fit")

    def _predict(self, records):
        return np.full((len(records), 3), 1 / 3)

    def _write(self, folder):
        pass

    def _read(self, folder):
        pass


def test_a_saved_model_is_calibrated_and_its_validation_rows_are_judged_by_maps_that_did_not_see_them(cell):
    one = cell(ready={"calibration": "temperature"})
    result = run_cell(one, silent)
    loaded = demur.load(one.folder.model("refusal", "tfidf_logreg"))
    sides = {
        side: pl.read_parquet(one.folder.predictions("refusal", "tfidf_logreg", side))
        for side in ("valid", "test")
    }
    given = {side: frame.select("p_0", "p_1", "p_2").to_numpy() for side, frame in sides.items()}
    rows = one.main_sides()
    assert result["ready"]["calibration"]["method"] == "temperature"
    assert given["test"] == pytest.approx(loaded.predict_proba(rows["test"]))
    assert given["test"] != pytest.approx(loaded.raw_proba(rows["test"]))
    assert not np.array_equal(given["valid"], loaded.predict_proba(rows["valid"]))


def test_folds_are_judged_without_calibration(cell):
    calibrated, plain = cell(ready={"calibration": "temperature"}, validation=PARTS), cell(validation=PARTS)
    assert [calibrated.path_of(part, part.protocol) for part in calibrated.parts] == [
        plain.path_of(part, part.protocol) for part in plain.parts
    ]
    assert calibrated.key != plain.key


def test_thresholds_are_measured_on_the_test_rows_by_the_saved_model(cell):
    one = cell(ready={"calibration": "none", "false_positive_rates": [0.2], "alpha": 0.3})
    found = run_cell(one, silent)["ready"]["test"]
    rows = one.data.records.take(one.data.main.test)
    answers = demur.load(one.folder.model("refusal", "tfidf_logreg")).predict(rows)
    negative = rows.targets(one.data.task) == 0
    point = found["operating"][0]
    assert found["rows"] == len(rows)
    assert point["false_positive_rate"]["value"] == pytest.approx(answers.flagged("fpr_20")[negative].mean())
    assert point["recall"]["value"] == pytest.approx(answers.flagged("fpr_20")[~negative].mean())
    shares = pl.DataFrame({"group": rows.texts("group"), "unsure": answers.unsure}).group_by("group").mean()
    assert found["conformal"]["unsure"]["value"] == pytest.approx(shares["unsure"].mean())


def test_what_thresholds_do_is_measured_anew_for_other_intervals_without_a_fit(cell, fits):
    ready = {"calibration": "none", "false_positive_rates": [0.2], "alpha": 0.3}
    wide = run_cell(cell(ready=ready), silent)["ready"]
    fits.clear()
    narrow = run_cell(cell(ready=ready, level=0.6), silent)["ready"]
    assert fits == []
    before, after = (found["test"]["conformal"]["unsure"] for found in (wide, narrow))
    assert before["value"] == after["value"]
    assert before["high"] - before["low"] > after["high"] - after["low"]
    assert {key: wide[key] for key in wide if key != "test"} == {
        key: narrow[key] for key in narrow if key != "test"
    }


def test_without_validation_rows_nothing_is_calibrated(cell):
    one = cell(split={"valid": 0}, validation={"cv": 2, "leave_one_out": []})
    assert run_cell(one, silent)["ready"] is None
    assert demur.load(one.folder.model("refusal", "tfidf_logreg")).calibration is None


def test_a_fit_that_was_killed_finds_its_checkpoints_and_the_next_fit_does_not(cell, monkeypatch):
    monkeypatch.setattr("demur.experiment._fit.resolve_spec", lambda spec: (Resuming, Resuming.config_type()))
    one = cell(validation={"cv": 2, "leave_one_out": []})
    with pytest.raises(KeyboardInterrupt, match="in the middle"):
        run_cell(one, silent)
    assert run_cell(one, silent)["status"] == "ok"
    assert Resuming.found == [False, True, False, False]
    assert not one.work.exists()


def test_costs_are_those_of_the_fit_that_is_saved(cell):
    one = cell()
    run_cell(one, silent)
    facts = json.loads(one.facts_path.read_text())
    one.facts_path.write_text(json.dumps(facts | {"fit_s": 123.0}))
    assert run_cell(one, silent)["fit_s"] == 123.0
