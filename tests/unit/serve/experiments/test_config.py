import pytest

from demur.config import parse_settings
from demur.errors import ConfigError
from demur.serve.experiments import CHAMPION, ExperimentConfig, ExperimentsConfig, GuardConfig, PromoteConfig


def test_defaults_compare_by_accuracy_behind_guard_rails(make_config):
    config = parse_settings(ExperimentConfig, {"name": "x", "task": "refusal", "challengers": [{"version": "v2"}]})
    assert config.arms == (CHAMPION, "challenger")
    assert config.weights == {CHAMPION: 0.5, "challenger": 0.5}
    assert config.metric == "accuracy"
    assert config.promote.rule == "never"
    assert {one.metric for one in config.guards} == {"error_rate", "latency_p95_ms", "flag_rate", "unsure_rate"}
    assert make_config().guards == ()
    assert config.version_of("challenger") == "v2"
    assert parse_settings(ExperimentsConfig, {}).lag_s > 0


def test_a_configuration_survives_json(make_config):
    config = make_config(metric="missed_threat_rate", promote={"rule": "non_inferior", "margin": 0.02})
    assert parse_settings(ExperimentConfig, config.model_dump(mode="json")) == config


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"challengers": []}, "challengers"),
        ({"challengers": [{"version": "a", "name": "champion"}]}, "none may be 'champion'"),
        ({"challengers": [{"version": "a"}, {"version": "b"}]}, "arms must have different names"),
        (
            {"challengers": [{"version": "a"}, {"version": "a", "name": "b"}]},
            "two challengers are the same version",
        ),
        ({"challengers": [{"version": "a", "weight": 0}]}, "challengers.0.weight"),
        ({"metric": "accurracy"}, "metric"),
        ({"promote": {"rule": "non_inferior"}}, "non_inferior needs a margin above 0"),
        ({"guards": [{"metric": "flag_rate"}]}, "needs one of at_most and above_champion"),
        ({"guards": [{"metric": "flag_rate", "at_most": 0.1, "above_champion": 0.1}]}, "needs one of"),
        ({"guards": [{"metric": "flag_rate", "at_most": 2}]}, "is a rate; give at_most below 1"),
        ({"guards": [{"metric": "latency_p95_ms", "above_champion": 0.1}]}, "takes at_most, in ms"),
        ({"guards": [{"metric": "missed_threat_rate", "at_most": 0.1, "unit": "row"}]}, "leave unit out"),
        ({"guards": [{"metric": "flag_rate", "above_champion": 0.1, "unit": "row"}]}, "unit goes with at_most"),
        ({"weights": {}}, "unknown key 'weights'"),
    ],
)
def test_what_contradicts_itself_is_refused(make_config, values, message):
    with pytest.raises(ConfigError, match=message):
        make_config(**values)


@pytest.mark.parametrize(
    ("values", "counts_rows", "title"),
    [
        ({"metric": "error_rate", "at_most": 0.02}, True, "error_rate at most 0.02"),
        ({"metric": "latency_p95_ms", "at_most": 250}, True, "latency_p95_ms at most 250"),
        ({"metric": "flag_rate", "at_most": 0.3}, False, "flag_rate at most 0.3"),
        ({"metric": "flag_rate", "at_most": 0.3, "unit": "row"}, True, "flag_rate at most 0.3"),
        ({"metric": "error_rate", "above_champion": 0.01}, False, "error_rate champion + 0.01"),
    ],
)
def test_a_guard_says_what_it_counts(values, counts_rows, title):
    guard = parse_settings(GuardConfig, values)
    assert (guard.counts_rows, guard.title) == (counts_rows, title)


def test_promotion_takes_a_day_at_least_by_default():
    assert PromoteConfig().min_hours == 24
