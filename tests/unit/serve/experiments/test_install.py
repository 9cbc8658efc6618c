from datetime import timedelta
from types import SimpleNamespace

from demur.serve import ServeConfig
from demur.serve.control import Step
from demur.serve.experiments import ExperimentRouter, install, make_step

from .conftest import START


def test_a_worker_is_given_the_router(store):
    parts = SimpleNamespace(store=store, router=None)
    install(parts)
    assert isinstance(parts.router, ExperimentRouter)
    assert parts.router.route("refusal", None).experiment is None


def test_the_controller_is_given_a_step_that_evaluates(store, begin):
    begin(store, max_hours=1)
    told = []
    config = ServeConfig(experiments={"every_s": 3})
    made = make_step(config, store, lambda kind, facts: told.append(kind))
    assert isinstance(made, Step)
    assert (made.name, made.every_s, made.needs_lease) == ("experiments", 3, True)
    made.run(START + timedelta(hours=2))
    assert told == ["experiment.stopped"]


def test_a_roll_back_by_itself_is_told_once_and_delivered_by_nobody_here(store, begin, traffic, caplog):
    from demur.serve.control._tell import make_tell

    guards = [{"metric": "latency_p95_ms", "at_most": 100}]
    row = begin(store, guards=guards)
    traffic(store, values={"v2": {"latency_ms": 500.0}}).send(60, START, 600)
    config = ServeConfig(alerts={"webhook": "http://127.0.0.1:9/hook"}, monitor={"enabled": False})
    made = make_step(config, store, make_tell(config, store))
    with caplog.at_level("WARNING", logger="demur.serve.alerts"):
        made.run(START + timedelta(hours=2))
        made.run(START + timedelta(hours=3))
    assert store.experiment(row.id).stage == "rolled_back"
    (line,) = [record for record in caplog.records if record.name == "demur.serve.alerts"]
    assert f"{row.name}: challenger passed a guard rail: latency_p95_ms at most 100" in line.getMessage()
    (kept,) = store.monitor_states("alert/").values()
    assert (kept["alert"]["kind"], kept["alert"]["task"]) == ("experiment.rolled_back", "refusal")
    assert kept["alert"]["facts"]["guard"]["metric"] == "latency_p95_ms"
    assert kept["attempts"] == 0


def test_a_configuration_reaches_the_step(store):
    config = ServeConfig(experiments={"lag_s": 7})
    assert config.experiments.lag_s == 7
    assert make_step(config, store).every_s == config.experiments.every_s
