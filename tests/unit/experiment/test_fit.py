"""Tests of one fit: settings, what is set aside, what a family is given."""

import pickle
import warnings
from dataclasses import replace

import numpy as np
import pytest

from demur.data import Records, Split
from demur.errors import ConfigError, RegistryError
from demur.experiment import ModelSpec
from demur.experiment._fit import FitJob, fit_classifier, fit_job, gather_notes, resolve_spec
from demur.experiment._prepare import TaskData
from demur.models import BaseClassifier
from demur.models.classical import ClassicalClassifier
from demur.models.transformer import TransformerClassifier, TransformerConfig
from demur.tasks import BUILT_IN
from demur.training import Progress

REFUSAL = BUILT_IN["refusal"]


def test_an_unknown_model_is_answered_with_the_nearest():
    with pytest.raises(RegistryError, match=r"no model is called 'tfidf_logrg'.*did you mean 'tfidf_logreg'\?"):
        resolve_spec(ModelSpec(name="x", preset="tfidf_logrg"))


def test_an_unknown_family_is_answered_with_the_nearest():
    with pytest.raises(RegistryError, match=r"no classifier is called 'clasical'.*did you mean 'classical'\?"):
        resolve_spec(ModelSpec(name="x", family="clasical"))


def test_an_unknown_setting_is_answered_with_the_nearest():
    spec = ModelSpec(name="mine", preset="tfidf_logreg", settings={"hed": "nb"})
    with pytest.raises(ConfigError, match=r"models: 'mine': unknown key 'hed'; did you mean 'head'\?"):
        resolve_spec(spec)


def test_settings_go_over_those_of_the_preset():
    _, settings = resolve_spec(ModelSpec(name="x", preset="tfidf_logreg", settings={"head": "nb"}))
    assert settings.head == "nb"


class Watching(BaseClassifier):
    """Remembers what it was fitted on; stops early on a validation set."""

    family = "watching"
    config_type = ClassicalClassifier.config_type
    wants_valid = True

    def _fit(self, train, targets, valid):
        self.seen = train, valid

    def _predict(self, records):
        return np.full((len(records), 3), 1 / 3)

    def _write(self, folder):
        pass

    def _read(self, folder):
        pass


@pytest.fixture
def job(tmp_path):
    """Maker of a job on the first 50 of some records; the rest is held out."""

    def make(records, **changes):
        split = Split("test", np.arange(len(records) - 10), np.arange(len(records) - 10, len(records)))
        data = TaskData(REFUSAL, records, split, None, records.texts("group"))
        return FitJob(ModelSpec(name="x", preset="tfidf_nb"), data, split, 1, tmp_path / "work", **changes)

    return make


def test_a_family_that_stops_early_watches_whole_groups_of_the_training_rows(small_records, job):
    one = job(small_records)
    train, valid = fit_classifier(Watching(REFUSAL), one, one.split.train).seen
    assert 0 < len(valid) < len(train)
    assert len(train) + len(valid) == 50
    assert not set(train.texts("group")) & set(valid.texts("group")) - {""}


def test_a_family_that_does_not_gets_every_training_row(small_records, job):
    class Plain(Watching):
        wants_valid = False

    one = job(small_records)
    train, valid = fit_classifier(Plain(REFUSAL), one, one.split.train).seen
    assert (len(train), valid) == (50, None)


def test_settings_can_do_without_watched_rows(small_records, job, monkeypatch):
    one = job(small_records)
    model = TransformerClassifier(REFUSAL, TransformerConfig(train={"watch": False}))
    monkeypatch.setattr(model, "fit", lambda train, valid: (train, valid))
    train, valid = fit_classifier(model, one, one.split.train)
    assert (len(train), valid) == (50, None)


def test_where_too_few_groups_are_there_to_set_aside_every_row_trains(rows, job):
    records = Records.from_rows([{**row, "group": "all"} for row in rows(22)])
    one = job(records)
    train, valid = fit_classifier(Watching(REFUSAL), one, one.split.train).seen
    assert (len(train), valid) == (12, None)


def test_progress_of_a_training_is_told_in_words_and_shares(small_records, job, monkeypatch):
    told = []

    class Telling(Watching):
        def _fit(self, train, targets, valid):
            self.on_progress(Progress(step=5, steps=20, epoch=0.5, score=None))
            self.on_progress(Progress(step=10, steps=20, epoch=1.0, score=0.75))

    monkeypatch.setattr("demur.experiment._fit.resolve_spec", lambda spec: (Telling, Telling.config_type()))
    fit_job(job(small_records, tell=lambda words, share: told.append((words, share))))
    assert told == [("epoch 0.5", 0.25), ("epoch 1.0, score 0.750", 0.5)]


def test_a_fitted_classifier_is_of_the_jobs_seed_and_keeps_no_hooks(small_records, job):
    classifier = fit_job(job(small_records)).classifier
    assert (classifier.seed, classifier.checkpoint_folder, classifier.on_progress) == (1, None, None)


def test_what_a_family_warns_of_is_a_note_and_not_printed(small_records, job, monkeypatch):
    class Warning(Watching):
        def _fit(self, train, targets, valid):
            warnings.warn("a companion was left out", stacklevel=3)

    monkeypatch.setattr("demur.experiment._fit.resolve_spec", lambda spec: (Warning, Warning.config_type()))
    assert fit_job(job(small_records)).notes == ["a companion was left out"]


def test_what_others_warn_of_goes_where_it_always_goes():
    with pytest.warns(UserWarning, match="theirs"), gather_notes() as notes:
        warnings.warn("theirs", stacklevel=1)
    assert notes == []


def test_a_searched_setting_is_fitted_and_said(small_records, job):
    spec = ModelSpec(name="x", preset="tfidf_nb", search={"space": {"min_df": {"choices": [1, 2]}}, "folds": 2})
    fitted = fit_job(replace(job(small_records), spec=spec))
    assert fitted.classifier.best_params == fitted.search["params"]
    assert fitted.classifier.config.min_df == fitted.search["params"]["min_df"]


def test_fits_of_a_search_can_go_to_processes_of_their_own_whoever_listens(small_records, job, monkeypatch):
    from threading import Lock

    from joblib import wrap_non_picklable_objects

    class Listener:
        def __init__(self):
            self.mine = Lock()

        def tell(self, words, share):
            pass

    def search(job, family, settings, fit):
        sent = pickle.loads(pickle.dumps(wrap_non_picklable_objects(fit)))
        assert sent(settings, job.split.train).predict(small_records.take([0])) is not None
        return settings, None

    monkeypatch.setattr("demur.experiment._search.search_settings", search)
    spec = ModelSpec(name="x", preset="tfidf_nb", search={})
    fit_job(replace(job(small_records, tell=Listener().tell), spec=spec))


def test_settings_that_were_chosen_before_are_taken_without_a_search(small_records, job):
    spec = ModelSpec(name="x", preset="tfidf_nb", search={"space": {"min_df": {"choices": [1, 2]}}})
    fitted = fit_job(replace(job(small_records), spec=spec, params={"min_df": 2}))
    assert (fitted.classifier.config.min_df, fitted.search) == (2, None)


def test_nested_settings_keep_the_rest_of_the_preset():
    spec = ModelSpec(name="x", preset="neural_transformer", settings={"train": {"epochs": 2}})
    _, settings = resolve_spec(spec)
    assert (settings.train.epochs, settings.train.learning_rate) == (2, 1e-3)
