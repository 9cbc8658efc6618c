"""Every registered attack keeps the same promises: rising cost, the same for a seed, the target put back."""

from itertools import pairwise

import pytest

from demur.errors import ConfigError, RegistryError, UsageError
from demur.llm import GenerationConfig
from demur.stress import ATTACKS, Attack, Material, Setting, Stage, make_attack

TUNE = {"steps": [0, 1, 2], "batch_size": 2, "examples": 4}
SMALL = {
    "ablation": {"max_kl": 100.0, "skip_last": 0.0},
    "attenuate": {},
    "decoding": {"temperatures": [1.0], "best_of": [2]},
    "direct": {},
    "few_shot": {"shots": [1, 2]},
    "full": TUNE,
    "gcg": {"steps": [0, 1, 2], "tokens": 4, "candidates": 4, "prompts": 2},
    "lora": TUNE,
    "paraphrase": {},
    "prefill": {},
    "quantise": {},
    "random_lora": TUNE,
    "revert": {},
    "soft_prompt": {"steps": [0, 1, 2], "tokens": 4, "restarts": 2},
    "templates": {},
}
"""Settings with which each is done in a moment; a new attack of demur's own is added here."""
SHORT = GenerationConfig(max_new_tokens=3)

every = pytest.mark.parametrize("name", ATTACKS.names())


@pytest.fixture
def defended(make_target, add_adapter):
    """Maker of equal targets with an adapter, so that every control has something to take off."""
    return lambda: add_adapter(make_target(num_hidden_layers=3))


@pytest.fixture
def setting(material, tmp_path):
    """Maker of settings: ``setting(seed=1)``; each with a folder of its own."""
    made = []

    def make(**changes):
        made.append(tmp_path / str(len(made)))
        return Setting(**{"material": material, "folder": made[-1], "generation": SHORT} | changes)

    return make


def answers(stage, prompts):
    generation = stage.generation or SHORT
    return [reply.token_ids for reply in stage.target.generate(stage.conversations(prompts), generation)]


def run(name, target, setting, prompts):
    """What each stage is and what is answered under it, without the clock."""
    found = []
    for stage in make_attack(name, SMALL[name]).stages(target, setting):
        spent = stage.cost.to_json() | {"seconds": None}
        found.append((stage.step, stage.label, spent, stage.tries, answers(stage, prompts)))
    return found


def test_every_attack_of_demur_is_registered_and_has_small_settings():
    assert set(ATTACKS.names()) >= SMALL.keys()
    assert ATTACKS.broken() == {}


@every
def test_an_attack_says_what_it_is(name):
    found = ATTACKS.get(name)
    assert issubclass(found, Attack)
    assert found.name == name
    assert found.title.endswith(".")
    assert found.access in {"prompt", "decoding", "embeddings", "activations", "weights", "training"}
    assert set(found.needs) <= {"compliance", "benign", "harmful_prompts", "harmless_prompts"}
    assert found.extent <= found.config_type.model_fields.keys()


@every
def test_every_setting_is_described(name):
    fields = ATTACKS.get(name).config_type.model_fields
    assert [one for one, field in fields.items() if not field.description] == []


@every
def test_stages_rise_in_cost_and_no_two_are_named_the_same(name, defended, setting):
    if name not in SMALL:
        pytest.skip("of another package")
    found = list(make_attack(name, SMALL[name]).stages(defended(), setting()))
    assert found
    assert all(isinstance(stage, Stage) for stage in found)
    assert len({(stage.step, stage.label) for stage in found}) == len(found)
    assert all(one.step <= other.step for one, other in pairwise(found))
    for figure in ("flops", "tokens", "queries"):
        spent = [getattr(stage.cost, figure) for stage in found]
        assert spent == sorted(spent)


@every
def test_the_target_is_bit_for_bit_what_it_was(name, defended, setting, prompts, weights_of, same_weights):
    if name not in SMALL:
        pytest.skip("of another package")
    target = defended()
    before, said = weights_of(target.module), target.generate(prompts, SHORT)
    run(name, target, setting(), prompts)
    assert same_weights(target.module, before)
    assert target.generate(prompts, SHORT) == said


@every
def test_the_target_is_what_it_was_when_the_iterator_is_closed(
    name, defended, setting, prompts, weights_of, same_weights
):
    if name not in SMALL:
        pytest.skip("of another package")
    target = defended()
    before, said = weights_of(target.module), target.generate(prompts, SHORT)
    iterator = make_attack(name, SMALL[name]).stages(target, setting())
    next(iterator)
    next(iterator, None)
    iterator.close()
    assert same_weights(target.module, before)
    assert target.generate(prompts, SHORT) == said
    assert not any(part._forward_hooks or part._forward_pre_hooks for part in target.module.modules())


@every
def test_the_same_seed_is_the_same_attack(name, defended, setting, prompts):
    if name not in SMALL:
        pytest.skip("of another package")
    one, other = (run(name, defended(), setting(seed=3), prompts) for _ in range(2))
    assert one == other


@pytest.mark.parametrize("name", ["ablation", "few_shot", "full", "gcg", "lora", "random_lora", "soft_prompt"])
def test_missing_material_is_one_clear_sentence(name, defended, setting):
    with pytest.raises(UsageError, match=r"give .+") as found:
        list(make_attack(name, SMALL[name]).stages(defended(), setting(material=Material())))
    assert "\n" not in str(found.value)
    with pytest.raises(UsageError, match=r"give .+"):
        make_attack(name, SMALL[name]).check_material(Material())


def test_an_unknown_attack_names_the_nearest():
    with pytest.raises(RegistryError, match=r"no attack is called 'prefil' .*did you mean 'prefill'"):
        make_attack("prefil")


def test_an_unknown_setting_names_the_attack():
    with pytest.raises(ConfigError, match="the attack 'prefill': unknown key 'length'; did you mean 'lengths'"):
        make_attack("prefill", {"length": [5]})
