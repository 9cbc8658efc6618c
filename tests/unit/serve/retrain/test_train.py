import shutil

import pytest
import yaml
from tests.conftest import make_rows
from tests.retraining import answer

from demur.errors import LeakError, TrainingError
from demur.models import load, read_manifest
from demur.serve.retrain._gather import gather
from demur.serve.retrain._train import check_files, train


@pytest.fixture
def gathered(order, store):
    """An order whose rows were gathered."""
    answer(store, make_rows(50, first=1000))
    given = order("training")
    given.files.write_result("gathering", gather(given))
    return given


def test_the_chosen_model_is_kept_outside_the_run(gathered):
    facts = train(gathered)
    assert facts["model"] == "tfidf_nb"
    assert facts["folder"] == str(gathered.models / "refusal" / "tfidf_nb-r1")
    shutil.rmtree(gathered.files.run)
    model = load(facts["folder"])
    assert model.task.name == "refusal"
    assert facts["evaluations"]["test"]["custom_score"]["n"] == facts["rows"]["test"]


def test_trained_twice_it_is_the_same_model(gathered):
    first = read_manifest(gathered.models.parent / train(gathered)["folder"])
    again = read_manifest(gathered.models.parent / train(gathered)["folder"])
    assert first == again


def test_files_that_were_changed_since_are_refused(gathered):
    check_files(gathered)
    gathered.files.train.write_bytes(gathered.files.recent.read_bytes())
    with pytest.raises(LeakError, match=r"train\.parquet is missing or was changed"):
        train(gathered)
    gathered.files.train.unlink()
    with pytest.raises(LeakError, match=r"train\.parquet is missing"):
        check_files(gathered)


def test_an_experiment_that_chooses_nobody_says_why(gathered, world, tmp_path, order):
    values = yaml.safe_load(world.experiment.read_text())
    values |= {"data": [{"path": str(world.base)}], "select": {"thresholds": {"custom_score": {"min": 2.0}}}}
    (tmp_path / "experiment.yaml").write_text(yaml.safe_dump(values))
    with pytest.raises(TrainingError, match="chose no challenger: no model passes every threshold"):
        train(order("training", experiment=str(tmp_path / "experiment.yaml")))
