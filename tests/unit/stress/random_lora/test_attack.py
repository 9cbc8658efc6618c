import numpy as np
import pytest
import torch

from demur.errors import EmptyDataError
from demur.stress import Material, Setting
from demur.stress.lora import LoraAttack, LoraConfig, update_norms
from demur.stress.random_lora import RandomLoraAttack, RandomLoraConfig
from demur.stress.random_lora._attack import shuffle_answers

QUICK = {"rank": 4, "steps": (0, 2, 4), "batch_size": 4, "learning_rate": 1e-2, "scale": 2.0}


def adapters(target):
    return {name: one.detach().clone() for name, one in target.module.named_parameters() if ".lora_" in name}


def run(attack, target, material, **given):
    return {one.step: (one, adapters(one.target)) for one in attack.stages(target, Setting(material, **given))}


@pytest.mark.parametrize("kind", ["drawn", "shuffled"])
def test_the_control_has_the_attacks_norm_on_every_layer(make_target, material, kind, tmp_path):
    attack = run(LoraAttack(LoraConfig(**QUICK)), make_target(), material)
    control = run(RandomLoraAttack(RandomLoraConfig(kind=kind, **QUICK)), make_target(), material, folder=tmp_path)
    for step, (stage, weights) in control.items():
        wanted = update_norms(attack[step][1], 2.0)
        found = update_norms(weights, 2.0)
        assert list(found.values()) == pytest.approx([wanted[layer] for layer in found], rel=1e-4)
        assert stage.notes["norm"] == pytest.approx(np.linalg.norm(list(wanted.values())), rel=1e-4)
        assert stage.cost.flops == attack[step][0].cost.flops


def test_the_control_is_not_the_attack(make_target, material):
    attack = run(LoraAttack(LoraConfig(**QUICK)), make_target(), material)[4][1]
    control = run(RandomLoraAttack(RandomLoraConfig(**QUICK)), make_target(), material)[4][1]
    products = [
        float(torch.nn.functional.cosine_similarity(attack[n].flatten(), control[n].flatten(), 0)) for n in attack
    ]
    assert np.abs(products).mean() < 0.2


def test_the_target_is_given_back(target, material, weights_of, same_weights):
    before = weights_of(target.module)
    run(RandomLoraAttack(RandomLoraConfig(**QUICK)), target, material)
    assert same_weights(target.module, before)


def test_the_same_seed_draws_the_same_control(make_target, material):
    attack = RandomLoraAttack(RandomLoraConfig(**QUICK))
    found = [run(attack, make_target(), material, seed=seed)[4][1] for seed in (0, 0, 1)]
    assert all(torch.equal(found[0][name], found[1][name]) for name in found[0])
    assert any(not torch.equal(found[0][name], found[2][name]) for name in found[0])


def test_shuffled_answers_are_all_there_and_nobody_keeps_its_own(material):
    rows = list(material.compliance)
    found = shuffle_answers(rows, 0)
    assert [one.messages[0] for one in found] == [one.messages[0] for one in rows]
    assert sorted(one.messages[-1].content for one in found) == sorted(one.messages[-1].content for one in rows)
    assert all(a.messages[-1] != b.messages[-1] for a, b in zip(found, rows, strict=True))


def test_material_without_the_rows_is_refused_at_once():
    with pytest.raises(EmptyDataError, match="trains on compliance rows, and there are none"):
        RandomLoraAttack().check_material(Material())
