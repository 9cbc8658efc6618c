"""Tests of a search as a whole: what it may see, what it chooses, and the table it leaves."""

import csv
import sys
from typing import ClassVar

import numpy as np
import pytest

from demur.config import parse_settings
from demur.errors import ConfigError, TrainingError, UsageError
from demur.experiment import ModelSpec
from demur.experiment._cell import run_cell
from demur.experiment._search import check_search, name_fit, pick_method, search_settings
from demur.experiment._search_config import SearchConfig
from demur.experiment._search_space import resolve_space
from demur.experiment._search_trial import Trial
from demur.models.classical import ClassicalClassifier
from demur.tasks import JAILBREAK, REFUSAL

DONE = Trial({}, scores=[0.5])
GRID = {"space": {"shift": [0.1, 0.4, 0.9]}}


@pytest.fixture
def search(bench):
    """Searches by a job of the bench: ``search(values, **job)`` gives settings and what was found."""
    noisy = sys.modules["noisy"]

    def run(values, settings=None, family=noisy.Noisy, **job):
        return search_settings(bench.job(values, **job), family, settings or noisy.NoisyConfig(), bench.fit)

    return run


def read_table(bench):
    with (bench.folder / "trials.csv").open(encoding="utf-8", newline="") as handle:
        return list(csv.DictReader(handle))


def test_without_a_search_the_settings_stay_and_nothing_is_fitted(bench, search):
    settings, found = search(None)
    assert (settings.shift, found, bench.fitted) == (0.9, None, [])


def test_the_best_settings_are_chosen_and_the_others_stay(search):
    settings, found = search(GRID, sys.modules["noisy"].NoisyConfig(width=5))
    assert (settings.shift, settings.width) == (0.4, 5)
    assert found.params == {"shift": 0.4}


@pytest.mark.parametrize("values", [GRID, {"method": "optuna", "trials": 6}])
def test_no_row_outside_the_training_rows_is_ever_seen(bench, search, values):
    search(values)
    ids = np.array(bench.records.texts("id"))
    training, held = set(ids[: bench.rows]), set(ids[bench.rows :])
    assert bench.fitted
    for classifier in bench.fitted:
        assert classifier.seen | classifier.asked <= training
        assert not (classifier.seen | classifier.asked) & held
        assert not classifier.seen & classifier.asked


def test_labels_of_the_test_rows_change_nothing(bench, search):
    _, before = search({"method": "optuna", "trials": 6})
    from demur.data import Records

    labels = bench.records.texts("refusal")
    turned = labels[: bench.rows] + [REFUSAL.labels[0]] * (len(labels) - bench.rows)
    bench.records = Records(bench.records.with_column("refusal", turned).frame)
    bench.folder = bench.folder / "again"
    bench.folder.mkdir()
    _, after = search({"method": "optuna", "trials": 6})
    assert [(t.params, t.scores) for t in before.trials] == [(t.params, t.scores) for t in after.trials]


def test_what_was_chosen_before_is_taken_without_a_fit(bench, search):
    settings, found = search(GRID | {"nested": False}, params={"shift": 0.2}, name="cv", fold="1")
    assert (settings.shift, found, bench.fitted) == (0.2, None, [])


def test_the_results_say_what_was_done(search):
    _, found = search(GRID | {"space": {"shift": [0.1, 0.4, 0.9], "outcome": ["ok", "nan"]}})
    told = found.to_json()
    assert {name: told[name] for name in ("method", "metric", "nested", "folds", "trials", "fits", "epochs")} == {
        "method": "grid",
        "metric": "custom_score",
        "nested": True,
        "folds": 3,
        "trials": 6,
        "fits": 18,
        "epochs": 18,
    }
    assert (told["complete"], told["pruned"], told["failed"]) == (3, 0, 3)
    assert told["params"] == {"shift": 0.4, "outcome": "ok"}
    assert told["score"] > told["start_score"] > 0
    assert told["space"] == {"shift": {"choices": [0.1, 0.4, 0.9]}, "outcome": {"choices": ["ok", "nan"]}}


def test_pruned_trials_are_counted_and_never_chosen(search):
    _, found = search({"method": "optuna", "trials": 16, "pruner": "halving"})
    told = found.to_json()
    assert told["pruned"] > 0
    assert told["complete"] + told["pruned"] + told["failed"] == told["trials"] == 16
    assert found.best.state == "complete"
    assert len(found.best.scores) == 3


@pytest.mark.parametrize("method", ["grid", "optuna"])
def test_where_every_trial_fails_one_sentence_says_why(search, method):
    values = {"method": method, "trials": 3, "space": {"outcome": ["raises"], "width": [1, 2]}}
    words = (
        r"all \d trials of the search failed; the first: ValueError: this setting does not work; change search\."
    )
    with pytest.raises(TrainingError, match=words) as caught:
        search(values)
    assert "\n" not in str(caught.value)


def test_the_table_has_a_row_a_trial_and_keeps_those_of_other_fits(bench, search):
    search(GRID)
    search(GRID, name="cv", fold="2")
    search(GRID | {"space": {"shift": [0.1, 0.2]}})
    rows = read_table(bench)
    assert [(row["fit"], row["trial"], row["shift"]) for row in rows] == [
        ("cv 2", "0", "0.1"),
        ("cv 2", "1", "0.4"),
        ("cv 2", "2", "0.9"),
        ("main", "0", "0.1"),
        ("main", "1", "0.2"),
    ]
    assert list(rows[0]) == [
        "fit",
        "trial",
        "state",
        "score",
        "std",
        "folds",
        "fits",
        "epochs",
        "seconds",
        "reason",
        "shift",
    ]
    assert (rows[0]["state"], rows[0]["folds"]) == ("complete", "3")


def test_a_job_without_a_table_writes_none(bench, search):
    job = bench.job(GRID)
    job.trials = None
    noisy = sys.modules["noisy"]
    search_settings(job, noisy.Noisy, noisy.NoisyConfig(), bench.fit)
    assert not (bench.folder / "trials.csv").exists()


def test_fits_are_named_by_their_fold(bench):
    assert name_fit(bench.job(None).split) == "main"
    assert name_fit(bench.job(None, name="leave_one_model_out", fold="ada").split) == "leave_one_model_out ada"


@pytest.mark.parametrize(
    ("space", "trials", "in_steps", "method"),
    [
        ({"shift": [0.1, 0.2]}, 2, False, "grid"),
        ({"shift": [0.1, 0.2], "width": [1, 2]}, 3, False, "optuna"),
        ({"shift": {"low": 0, "high": 1}}, 100, False, "optuna"),
        ({"shift": [0.1, 0.2]}, 2, True, "optuna"),
    ],
)
def test_auto_is_a_grid_where_it_is_small_and_no_fit_can_be_cut_short(bench, space, trials, in_steps, method):
    noisy = sys.modules["noisy"]
    config = parse_settings(SearchConfig, {"space": space, "trials": trials})
    found = resolve_space(config, noisy.Noisy, noisy.NoisyConfig())
    assert pick_method(config, found, in_steps) == method
    assert pick_method(parse_settings(SearchConfig, {"method": "optuna"}), found, in_steps) == "optuna"


def test_a_family_that_trains_in_steps_is_pruned_within_a_fit(bench, search):
    values = {"space": {"shift": {"low": 0, "high": 1}, "epochs": [3, 4]}, "trials": 16}
    _, found = search(values, family=sys.modules["noisy"].NoisyNet)
    cut = [trial for trial in found.trials if trial.state == "pruned"]
    assert any(trial.fits == 1 and trial.epochs < 3 for trial in cut)


@pytest.mark.parametrize(
    ("dimension", "most"),
    [({"low": 2, "high": 6, "int": True}, 6), ({"choices": [2, 5]}, 5), ({"choices": [2]}, 3)],
)
def test_the_longest_fit_is_that_of_the_space_the_family_suggests(bench, search, monkeypatch, dimension, most):
    class Net(sys.modules["noisy"].NoisyNet):
        search_space: ClassVar = {"epochs": dimension}

    posed = []
    monkeypatch.setattr("demur.experiment._search.run_study", lambda problem, *_: posed.append(problem) or [DONE])
    search({}, family=Net)
    assert [(problem.most_epochs, problem.has_own_score) for problem in posed] == [(most, True)]


def test_a_family_of_several_tasks_has_no_score_of_its_own_while_it_trains(bench, search, monkeypatch):
    class Several(sys.modules["noisy"].NoisyNet):
        wants_companions = True

    posed = []
    monkeypatch.setattr("demur.experiment._search.run_study", lambda problem, *_: posed.append(problem) or [DONE])
    search({}, family=Several)
    assert [problem.has_own_score for problem in posed] == [False]


def test_a_seed_of_its_own_comes_before_that_of_the_fit(bench, search):
    _, fit_seed = search({"method": "optuna", "trials": 4})
    _, own_seed = search({"method": "optuna", "trials": 4, "seed": 7})
    _, other = search({"method": "optuna", "trials": 4, "seed": 1})
    params = [[trial.params for trial in found.trials] for found in (fit_seed, own_seed, other)]
    assert params[0] == params[1] != params[2]


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"space": {"shfit": [1]}}, "there is no setting 'shfit' in this family; did you mean 'shift'?"),
        ({"space": {"shift": [0.1, 3]}}, r"search\.space\.shift: key 'shift'"),
        ({"method": "grid"}, "a grid needs choices, and the family suggests a range for shift"),
    ],
)
def test_a_bad_search_is_refused_before_anything_runs(bench, values, words):
    noisy = sys.modules["noisy"]
    spec = parse_settings(ModelSpec, {"name": "noisy", "family": "noisy", "search": values})
    with pytest.raises(ConfigError, match=words):
        check_search(spec, noisy.Noisy, noisy.NoisyConfig())
    assert bench.fitted == []


def test_a_metric_must_be_one_of_every_task_of_the_model(bench):
    noisy = sys.modules["noisy"]
    values = {"name": "noisy", "family": "noisy", "search": {"metric": "f1_c2"}}
    spec = parse_settings(ModelSpec, values)
    check_search(spec, noisy.Noisy, noisy.NoisyConfig(), [REFUSAL])
    with pytest.raises(UsageError, match="task 'jailbreak' has no scorer 'f1_c2'"):
        check_search(spec, noisy.Noisy, noisy.NoisyConfig(), [REFUSAL, JAILBREAK])
    check_search(
        parse_settings(ModelSpec, values | {"tasks": ["refusal"]}),
        noisy.Noisy,
        noisy.NoisyConfig(),
        [REFUSAL, JAILBREAK],
    )
    check_search(
        parse_settings(ModelSpec, values | {"search": None}), noisy.Noisy, noisy.NoisyConfig(), [JAILBREAK]
    )


@pytest.mark.parametrize("nested", [True, False])
def test_in_a_whole_cell_no_fit_for_a_fold_sees_its_test_rows(cell, monkeypatch, nested):
    fits, real = {}, ClassicalClassifier._fit

    def spying(self, train, *others):
        fits.setdefault(steps[-1], []).append(set(train.texts("id")))
        return real(self, train, *others)

    monkeypatch.setattr(ClassicalClassifier, "_fit", spying)
    steps = []
    values = {"preset": "tfidf_nb", "search": {"space": {"smoothing": [0.1, 1]}, "folds": 2, "nested": nested}}
    one = cell(values, validation={"cv": 2, "leave_one_out": ["model"]})
    result = run_cell(one, steps.append)
    assert result["status"] == "ok"
    ids = np.array(one.data.records.texts("id"))
    splits = [one.data.main, *(split for splits in one.protocols().values() for split in splits)]
    assert len(splits) == len(fits) == 5
    for number, (split, seen) in enumerate(zip(splits, fits.values(), strict=True)):
        assert len(seen) == (5 if nested or not number else 1)
        assert not set.union(*seen) & set(ids[split.test])
    assert result["search"]["nested"] is nested
