"""Without its directions nothing of them is in the residual stream; both modes agree, and all is put back."""

import numpy as np
import pytest
import torch

from demur.stress import Material, Setting
from demur.stress.ablation import AblationAttack, AblationConfig
from demur.stress.ablation._attack import ablating, choose_directions

FREE = {"max_kl": 100.0, "skip_last": 0.0}


def stages(target, material, seed=0, **values):
    return AblationAttack(AblationConfig(**FREE | values)).stages(target, Setting(material, seed))


def unit(*rows):
    rows = np.array(rows, dtype=np.float64)
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


@pytest.mark.parametrize("mode", ["activations", "weights"])
def test_nothing_of_the_directions_is_left_in_the_stream(make_target, prompts, mode):
    target = make_target(num_hidden_layers=3)
    directions = unit(np.arange(32.0), np.ones(32), np.eye(32)[3])
    rows, layers = [target.prompt_ids(one) for one in prompts], [1, 2, 3]
    assert np.abs(target.hidden_states(rows, layers) @ directions.T).max() > 0.1
    with ablating(target, directions, mode):
        for layer in layers:
            assert np.abs(target.hidden_states(rows, [layer]) @ directions.T).max() < 1e-4


def test_both_modes_give_the_same_answers(make_target, material, prompts, logits_of):
    target = make_target(num_hidden_layers=4)
    found = {
        stage.label: logits_of(stage.target, prompts[0]) for stage in stages(target, material, directions=(2,))
    }
    torch.testing.assert_close(
        found["activations,directions=2"], found["weights,directions=2"], atol=1e-3, rtol=1e-3
    )
    assert not torch.allclose(found["weights,directions=2"], logits_of(target, prompts[0]), atol=1e-2)


@pytest.mark.parametrize("tied", [False, True])
def test_weights_are_what_they_were_afterwards(make_target, material, prompts, weights_of, same_weights, tied):
    target = make_target(num_hidden_layers=4, tie_word_embeddings=tied)
    before = weights_of(target.module)
    list(stages(target, material))
    assert same_weights(target.module, before)
    iterator = stages(target, material, modes=("weights",))
    next(iterator)
    assert not same_weights(target.module, before)
    iterator.close()
    assert same_weights(target.module, before)
    assert (target.module.lm_head.weight is target.module.get_input_embeddings().weight) == tied


def test_a_defended_target_is_ablated_with_its_adapter(
    make_target, add_adapter, material, weights_of, same_weights
):
    target = add_adapter(make_target(num_hidden_layers=4))
    before = weights_of(target.module)
    for stage in stages(target, material, modes=("weights",), directions=(1,)):
        changed = weights_of(stage.target.module)
        assert any(not torch.equal(changed[name], before[name]) for name in before if "lora_B" in name)
    assert same_weights(target.module, before)


def test_stages_tell_their_layers_and_cost_the_same(make_target, material):
    found = list(stages(make_target(num_hidden_layers=5), material, directions=(2, 1)))
    assert [stage.label for stage in found] == [
        f"{mode},directions={count}" for count in (1, 2) for mode in ("activations", "weights")
    ]
    assert [len(stage.notes["layers"]) for stage in found] == [1, 1, 2, 2]
    assert len({stage.cost for stage in found}) == 1
    assert found[0].cost.flops > 0
    assert found[0].cost.examples == len(material.harmful_prompts) + len(material.harmless_prompts)


def test_a_direction_twice_is_taken_out_once():
    rows = unit([1, 0, 0], [1, 1e-5, 0], [0, 1, 0], [1, 1, 0], [0, 0, 1])
    assert choose_directions(rows, 3) == [0, 2, 4]
    assert choose_directions(rows, 1) == [0]
    assert choose_directions(rows, 9) == [0, 2, 4]


def test_planted_refusals_end_with_their_direction(make_target, prompts, logits_of):
    """A direction that the output matrix reads as one token: ablating it takes the token away."""
    target = make_target(num_hidden_layers=2)
    direction = unit(np.arange(32.0) - 15)[0]
    with torch.no_grad():
        target.module.lm_head.weight[7] = 50 * torch.from_numpy(direction)
        target.module.model.layers[1].mlp.down_proj.weight.add_(0)
    with ablating(target, direction[None], "weights"):
        assert abs(float(logits_of(target, prompts[0])[-1, 7])) < 1e-2
    assert abs(float(logits_of(target, prompts[0])[-1, 7])) > 1


def test_material_without_harmless_prompts_is_refused(target, material):
    with pytest.raises(ValueError, match="'ablation' needs harmless_prompts"):
        list(stages(target, Material(harmful_prompts=material.harmful_prompts)))
