"""Tests of tracking: what MLflow holds of a run, and that its failure is a warning."""

import json
import os
import sys
from pathlib import Path

import pytest

from demur.experiment._track import model_metrics, parent_metrics


@pytest.fixture(params=["folder", pytest.param("sqlite", marks=pytest.mark.slow)])
def store(request, tmp_path, monkeypatch):
    """A real store: a folder, or a database, which takes seconds to be made."""
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    folder = tmp_path / "store"
    return folder.as_uri() if request.param == "folder" else f"sqlite:///{folder / 'mlflow.db'}"


@pytest.fixture
def tracked(run, store, tmp_path):
    """A run of two models with folds and seeds, tracked in a real store; its folder and a client that reads it."""
    from mlflow import MlflowClient

    (tmp_path / "store").mkdir()
    result = run(
        models=["rules", {"preset": "tfidf_nb", "settings": {"min_df": 1}}],
        validation={"cv": 2, "leave_one_out": []},
        tracking={"mlflow": {"uri": store, "experiment": "tests"}},
    )
    return result, MlflowClient(tracking_uri=store)


def settings_around():
    """The environment, less what numeric libraries set when they are first imported."""
    return {name: value for name, value in os.environ.items() if not name.startswith("KMP_")}


def runs_of(client, name="tests"):
    experiment = client.get_experiment_by_name(name)
    found = client.search_runs([experiment.experiment_id])
    return {run.info.run_name: run for run in found}


def test_a_run_is_told_of_with_a_child_for_each_model(tracked, tmp_path):
    result, client = tracked
    runs = runs_of(client)
    assert set(runs) == {"tiny", "refusal/rules", "refusal/tfidf_nb"}
    parent, child = runs["tiny"], runs["refusal/tfidf_nb"]
    assert child.data.tags["mlflow.parentRunId"] == parent.info.run_id
    assert {run.info.status for run in runs.values()} == {"FINISHED"}
    assert (parent.data.params["seed"], parent.data.params["validation.cv"]) == ("7", "2")
    assert child.data.params["settings.min_df"] == "1"

    model = result.results["tasks"]["refusal"]["models"][1]
    metrics = model["evaluations"]["cv"]["metrics"]
    name = next(name for name, figure in metrics.items() if figure["low"] is not None)
    figure = metrics[name]
    logged = [child.data.metrics[f"cv.{name}{part}"] for part in ("", ".low", ".high")]
    assert logged == pytest.approx([figure["value"], figure["low"], figure["high"]])
    over = model["evaluations"]["cv"]["over_folds"]["f1_macro"]
    assert child.data.metrics["cv.folds.f1_macro.std"] == pytest.approx(over["std"])

    kept = {file.path for file in client.list_artifacts(parent.info.run_id)}
    assert {"run.json", "experiment_results.json", "results.csv"} <= kept
    folder = client.download_artifacts(child.info.run_id, "model", str(tmp_path))
    import demur

    assert demur.load(folder).family == "classical"


def test_a_failed_model_is_a_failed_child_with_the_reason(run, store, break_family, tmp_path):
    from mlflow import MlflowClient

    (tmp_path / "store").mkdir()
    break_family("_fit", ValueError("no luck"))
    run(tracking={"mlflow": {"uri": store, "experiment": "tests", "models": False}})
    runs = runs_of(MlflowClient(tracking_uri=store))
    failed = runs["refusal/tfidf_logreg"]
    assert (failed.info.status, failed.data.tags["demur.reason"]) == ("FAILED", "ValueError: no luck")


def test_what_could_not_be_logged_whole_is_failed(run, store, tmp_path, monkeypatch):
    from mlflow import MlflowClient

    def refuse(self, run, path, *where):
        raise OSError("no room")

    (tmp_path / "store").mkdir()
    monkeypatch.setattr(MlflowClient, "log_artifacts", refuse)
    run(models=["rules"], tracking={"mlflow": {"uri": store, "experiment": "tests"}})
    found = runs_of(MlflowClient(tracking_uri=store))
    assert {name: one.info.status for name, one in found.items()} == {"tiny": "FAILED", "refusal/rules": "FAILED"}


def test_the_address_of_the_store_is_not_among_the_files_it_keeps(tracked, tmp_path):
    result, client = tracked
    parent = runs_of(client)["tiny"].info.run_id
    for file in client.list_artifacts(parent):
        kept = Path(client.download_artifacts(parent, file.path, str(tmp_path)))
        assert file.is_dir or '"uri"' not in kept.read_text(encoding="utf-8")
    kept = json.loads((tmp_path / "run.json").read_text())
    own = json.loads((result.folder / "run.json").read_text())
    assert "tracking" in own["config"]
    del own["config"]["tracking"]
    assert kept == own


def test_the_variable_names_a_store_only_where_tracking_is_configured(run, store, tmp_path, monkeypatch):
    from mlflow import MlflowClient

    (tmp_path / "store").mkdir()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", store)
    run(models=["rules"])
    assert list((tmp_path / "store").iterdir()) == []
    run(models=["rules"], tracking={"mlflow": {}})
    assert "refusal/rules" in runs_of(MlflowClient(tracking_uri=store), "demur")


@pytest.mark.parametrize("uri", ["sqlite:////proc/none/mlflow.db", "nonsense://x", None])
def test_a_store_that_fails_is_a_warning_and_the_run_ends_well(run, uri, monkeypatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    said = []

    class Listener:
        def start(self, total):
            pass

        step = detail = start

        def say(self, words):
            said.append(words)

    Listener.detail = lambda self, words, share: None
    before = settings_around()
    result = run(models=["rules"], tracking={"mlflow": {"uri": uri}}, progress=Listener())
    assert result.winners == {"refusal": "rules"}
    assert json.loads((result.folder / "run.json").read_text())["status"] == "done"
    assert said[-1].startswith("not tracked: MLflow said ")
    assert settings_around() == before


def test_a_password_in_the_address_is_not_repeated(config, tmp_path):
    from demur.experiment._folder import RunFolder
    from demur.experiment._track import track_run

    said = []
    uri = "nonsense://me:secret@host/x"
    track_run(config(tracking={"mlflow": {"uri": uri}}), RunFolder(tmp_path), {}, said.append)
    assert "not tracked: MLflow said" in said[0]
    assert "secret" not in said[0]


def test_without_mlflow_the_extra_is_named(config, tmp_path, monkeypatch, capsys):
    from demur.experiment._folder import RunFolder
    from demur.experiment._track import track_run

    monkeypatch.setitem(sys.modules, "mlflow", None)
    said = []
    track_run(config(tracking={"mlflow": {"uri": "sqlite:///x.db"}}), RunFolder(tmp_path), {}, said.append)
    assert "pip install 'demur[track]'" in said[0]


def test_figures_without_a_value_are_left_out():
    figures = {"a": {"value": 0.5, "low": None, "high": None, "n": 3}, "b": {"value": None, "n": 0}}
    model = {"evaluations": {"test": {"metrics": figures}}, "fit_s": None, "size_mb": 2, "selected": True}
    assert model_metrics(model) == {"size_mb": 2.0, "test.a": 0.5, "test.a.n": 3.0}
    results = {"seconds": 1, "tasks": {"t": {"models": [model]}}}
    assert parent_metrics(results) == {"seconds": 1.0, "t.test.a": 0.5, "t.test.a.n": 3.0}


def test_spreads_over_seeds_are_figures_too():
    seeds = {"evaluations": {"test": {"f1_macro": {"mean": 0.5, "std": 0.1, "values": [0.4, 0.6]}}}}
    found = model_metrics({"evaluations": {}, "seeds": seeds})
    assert found == {"test.seeds.f1_macro.mean": 0.5, "test.seeds.f1_macro.std": 0.1}
