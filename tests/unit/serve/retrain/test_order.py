import pytest
import yaml

from demur.errors import ConfigError
from demur.serve.retrain import Order
from demur.serve.retrain._order import challenger_experiment, read_experiment


def test_an_order_survives_the_pipe(order):
    given = order("training", compare={"margin": 0.1})
    text = given.to_text()
    assert "\n" not in text
    assert Order.from_text(text) == given


@pytest.fixture
def written(world, tmp_path):
    def write(**changes):
        path = tmp_path / "experiment.yaml"
        values = yaml.safe_load(world.experiment.read_text()) | {"data": [{"path": str(world.base)}]}
        path.write_text(yaml.safe_dump(values | changes))
        return str(path)

    return write


def test_an_experiment_is_narrowed_to_the_task_and_draws_nothing(order, written):
    models = ["tfidf_nb", {"name": "other", "preset": "tfidf_svm", "tasks": ["jailbreak"]}]
    path = written(tasks=["jailbreak", "refusal"], models=models, report=True)
    config, task = read_experiment(order(experiment=path).settings, "refusal")
    assert task.name == "refusal"
    assert [one["name"] for one in config.tasks] == ["refusal"]
    assert [one.name for one in config.models] == ["tfidf_nb"]
    assert not config.report


def test_a_task_without_a_model_is_refused(order, written):
    path = written(tasks=["jailbreak", "refusal"], models=[{"preset": "tfidf_nb", "tasks": ["jailbreak"]}])
    with pytest.raises(ConfigError, match="has no model for task 'refusal'"):
        read_experiment(order(experiment=path).settings, "refusal")


def test_the_challenger_learns_from_the_gathered_rows_alone(order, written):
    given = order(experiment=written(extra=[{"path": "starter:desk"}]))
    config, _ = read_experiment(given.settings, "refusal")
    changed = challenger_experiment(config, given.files)
    assert [one.path for one in changed.data] == [str(given.files.train)]
    assert changed.extra == ()
    given.files.extra.parent.mkdir(parents=True)
    given.files.extra.touch()
    assert [one.path for one in challenger_experiment(config, given.files).extra] == [str(given.files.extra)]
