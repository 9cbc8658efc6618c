from tests.retraining import NOON, TASK

from demur.config import parse_settings
from demur.serve import ServeConfig
from demur.serve.retrain import make_step, request_retrain


def test_the_step_follows_the_servers_configuration(store, url, world, tmp_path):
    values = {
        "database": {"url": url},
        "operating_point": "fpr_1",
        "retrain": world.config(tmp_path / "retrain"),
    }
    told = []
    step = make_step(
        parse_settings(ServeConfig, values), store, lambda kind, facts: told.append((kind, facts["reason"]))
    )
    assert (step.name, step.every_s, step.needs_lease) == ("retrain", 0.2, True)
    served = step.run.__self__._served
    assert (served.database, served.operating_point) == (url, "fpr_1")
    request_retrain(store, TASK, "command", NOON)
    step.run(NOON)
    assert [kind for kind, _ in told] == ["retrain.failed"]
    step.pause()
    step.close()


def test_without_tasks_it_rests(store, url):
    step = make_step(parse_settings(ServeConfig, {"database": {"url": url}}), store)
    step.run(NOON)
    assert store.retrains() == []
