import json

import numpy as np
import pytest

from demur.config import parse_settings
from demur.errors import ConfigError
from demur.metrics import AlarmConfig, AlarmState, decide_alarm


def replay(p_values, config):
    state, alarms = AlarmState(), []
    for p in p_values:
        found = decide_alarm(p, state, config)
        state = AlarmState.from_json(json.loads(json.dumps(found.state.to_json())))
        alarms.append(found.is_alarm)
    return alarms


def test_levels_of_a_quiet_season_sum_to_alpha():
    config, state, total = AlarmConfig(season=20), AlarmState(), 0.0
    for _ in range(20):
        found = decide_alarm(0.9, state, config)
        state, total = found.state, total + found.level
    assert total == pytest.approx(0.05)


def test_each_alarm_of_a_season_raises_the_level():
    config = AlarmConfig(season=10)
    first = decide_alarm(0.001, AlarmState(), config)
    second = decide_alarm(0.009, first.state, config)
    assert (first.level, second.level) == (pytest.approx(0.005), pytest.approx(0.01))
    assert (first.is_alarm, second.is_alarm) == (True, True)
    assert decide_alarm(0.009, AlarmState(), config).is_alarm is False


def test_the_level_never_passes_alpha():
    state = AlarmState(tested=5, alarms=40)
    assert decide_alarm(0.5, state, AlarmConfig(season=20)).level == 0.05


def test_a_new_season_starts_over():
    found = decide_alarm(0.5, AlarmState(tested=10, alarms=3), AlarmConfig(season=10))
    assert found.level == pytest.approx(0.005)
    assert (found.state.tested, found.state.alarms) == (1, 0)


def test_a_window_that_signals_alone_is_no_alarm_under_lond():
    found = decide_alarm(0.03, AlarmState(), AlarmConfig())
    assert (found.is_signal, found.is_alarm) == (True, False)


def test_each_signal_is_an_alarm_where_asked_for():
    assert replay([0.03, 0.2, 0.05], AlarmConfig(rule="each")) == [True, False, True]


def test_k_of_m_wants_k_signals_of_the_last_m_windows():
    config = AlarmConfig(rule="k_of_m", k=2, m=3)
    assert replay([0.01, 0.5, 0.02, 0.5, 0.5, 0.01], config) == [False, False, True, False, False, False]


def test_a_window_that_could_not_be_tested_is_no_window():
    state = AlarmState(tested=3, alarms=1, recent=(True,))
    found = decide_alarm(None, state, AlarmConfig())
    assert (found.is_alarm, found.state) == (False, state)


@pytest.mark.parametrize("shared", [0.0, 0.8], ids=["independent windows", "windows that share a reference"])
def test_any_false_alarm_in_a_season_is_as_rare_as_alpha(shared):
    from scipy import stats

    generator = np.random.default_rng(0)
    common = generator.normal(size=(1500, 1))
    values = stats.norm.sf(shared * common + np.sqrt(1 - shared**2) * generator.normal(size=(1500, 25)))
    rates = {
        rule: np.mean([any(replay(row, AlarmConfig(rule=rule, season=25))) for row in values.tolist()])
        for rule in ("lond", "k_of_m")
    }
    assert rates["lond"] <= 0.06
    assert rates["k_of_m"] > 0.075


def test_more_signals_than_windows_are_refused():
    with pytest.raises(ConfigError, match="k is at most m"):
        parse_settings(AlarmConfig, {"k": 4, "m": 3})
