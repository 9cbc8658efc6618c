import json

import numpy as np
import pytest

from demur.config import parse_settings
from demur.errors import ConfigError
from demur.metrics import DriftTest, Permutations
from demur.metrics._drift_permute import draw_members, sequential_p_value


def uniform_draw(count, generator):
    return generator.random(count)


def test_a_value_in_the_middle_takes_few_draws():
    p, draws = sequential_p_value(0.5, uniform_draw, Permutations())
    assert draws < 100
    assert p == pytest.approx(0.5, abs=0.25)


def test_a_value_beyond_all_draws_has_the_smallest_p_value_there_is():
    assert sequential_p_value(2.0, uniform_draw, Permutations(most=999)) == (1 / 1000, 999)


def test_p_values_are_uniform_where_the_statistic_is_a_draw_of_its_null():
    generator = np.random.default_rng(5)
    found = np.array(
        [
            sequential_p_value(generator.random(), uniform_draw, Permutations(most=500, seed=s))[0]
            for s in range(2000)
        ]
    )
    for level in (0.01, 0.05, 0.2, 0.5):
        assert (found <= level).mean() <= level + 3 * np.sqrt(level / 2000)
    assert (found <= 0.05).mean() > 0.03


def test_stopping_early_gives_stop_over_the_draw_of_the_last():
    values = np.array([0.1, 0.9, 0.95, 0.2, 0.99, 0.91, 0.97, 0.3])
    settings = Permutations(stop=5)
    p, draws = sequential_p_value(0.9, lambda count, _: np.resize(values, count), settings)
    assert (p, draws) == (5 / 7, 7)


def test_equal_values_count_as_as_large():
    p, _ = sequential_p_value(1.0, lambda count, _: np.full(count, 1.0 - 1e-15), Permutations())
    assert p == 1.0


def test_the_same_seed_gives_the_same_p_value():
    assert sequential_p_value(0.97, uniform_draw, Permutations(seed=3)) == sequential_p_value(
        0.97, uniform_draw, Permutations(seed=3)
    )


def test_members_are_chosen_evenly_and_as_many_as_asked_for():
    members = draw_members(30, 10, 4000, np.random.default_rng(0))
    assert members.shape == (4000, 40)
    assert (members.sum(axis=1) == 10).all()
    assert np.abs(members.mean(axis=0) - 0.25).max() < 0.03


def test_too_few_permutations_are_refused():
    with pytest.raises(ConfigError, match="most"):
        parse_settings(Permutations, {"most": 5})


def test_a_result_is_plain_values():
    found = DriftTest("ks", 0.2, 0.01, 10, 20, "exact", {"a": 1}).to_json()
    assert json.loads(json.dumps(found))["facts"] == {"a": 1}
