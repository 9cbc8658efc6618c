"""The sweep tries early enough layers, keeps within the KL, and ranks by what is left of refusals."""

import pytest

from demur.errors import ConfigError, UsageError
from demur.stress import Material
from demur.stress._meter import Meter
from demur.stress.ablation import AblationConfig
from demur.stress.ablation._sweep import candidate_layers, sweep_layers


def sweep(target, material, seed=0, **values):
    return sweep_layers(target, material, AblationConfig(**values), seed, Meter(target.module))


@pytest.mark.parametrize(
    ("depth", "skip", "wanted"), [(10, 0.2, 8), (30, 0.2, 24), (2, 0.2, 1), (5, 0.0, 5), (1, 0.9, 1)]
)
def test_the_last_layers_are_not_tried(depth, skip, wanted):
    assert candidate_layers(AblationConfig(skip_last=skip), depth) == list(range(1, wanted + 1))


def test_layers_may_be_named_as_fractions():
    assert candidate_layers(AblationConfig(layers=(0.25, 0.5, 1.0)), 20) == [5, 10]


def test_no_layer_left_is_refused():
    with pytest.raises(UsageError, match="of 10 blocks the last 20% are skipped; give earlier layers"):
        candidate_layers(AblationConfig(layers=(9, 10)), 10)


def test_a_layer_beyond_the_depth_is_refused():
    with pytest.raises(ConfigError, match="layer 11 is asked for, but the model has 10 blocks"):
        candidate_layers(AblationConfig(layers=(11,)), 10)


def test_chosen_layers_keep_within_the_kl_and_come_best_first(make_target, material):
    target = make_target(num_hidden_layers=6)
    free = sweep(target, material, max_kl=100.0)
    limit = sorted(one.kl for one in free.candidates)[2]
    found = sweep(target, material, max_kl=limit)
    by_layer = {one.layer: one for one in found.candidates}
    assert len(found.chosen) == 3
    assert all(by_layer[layer].kl <= limit for layer in found.chosen)
    left = [by_layer[layer].log_odds for layer in found.chosen]
    assert left == sorted(left)
    assert found.directions.shape == (3, 32)


def test_the_same_seed_finds_the_same_and_another_seed_other_halves(target, material):
    def directions(seed):
        return sweep(target, material, seed, max_kl=100.0).directions.tobytes()

    assert directions(0) == directions(0)
    assert len({directions(seed) for seed in range(4)}) > 1


def test_the_cost_counts_every_trial(make_target, material):
    target = make_target(num_hidden_layers=6)
    few, many = Meter(target.module), Meter(target.module)
    sweep_layers(target, material, AblationConfig(max_kl=100.0, layers=(1,)), 0, few)
    sweep_layers(target, material, AblationConfig(max_kl=100.0, layers=(1, 2, 3)), 0, many)
    assert 0 < few.flops < many.flops < 3 * few.flops


def test_where_every_direction_harms_the_least_is_named(target, material):
    with pytest.raises(
        UsageError, match=r"by more than 1e-09 nats \(the least is .*, of layer \d\); raise max_kl"
    ):
        sweep(target, material, max_kl=1e-9)


def test_a_single_prompt_of_a_kind_is_refused(target, material):
    one = Material(harmful_prompts=material.harmful_prompts[:1], harmless_prompts=material.harmless_prompts)
    with pytest.raises(UsageError, match=r"half of the harmful_prompts .* there is 1; give two at least"):
        sweep(target, one)
