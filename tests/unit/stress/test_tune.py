import numpy as np
import pytest
import torch

from demur.errors import TrainingError
from demur.llm import Conversation, Target
from demur.stress import Cost, Setting, Stage, reckon_flops
from demur.stress._tune import Tuned, answer_loss, tune_stages, under_identity
from demur.stress._tune_config import TuneConfig
from demur.stress._tune_rows import encode_rows

STEPS = (0, 1, 3, 5)


def open_to_training(target: Target, rate: float = 1e-2) -> Tuned:
    parameters = dict(target.module.named_parameters())
    return Tuned(target, parameters, "full", rate, facts=("test",))


def collect(target, material, folder=None, steps=STEPS, stop=None, **changes):
    """Weights at each stage of a fresh fine-tuning of all weights."""
    config = TuneConfig(steps=steps, batch_size=3, checkpoint_every=2, **changes)
    rows = encode_rows(target, material.compliance, config, 0)
    found = {}
    stages = tune_stages(open_to_training(target), rows, config, Setting(material, folder=folder))
    for stage in stages:
        found[stage.step] = {name: one.detach().clone() for name, one in target.module.named_parameters()}
        if stage.step == stop:
            stages.close()
    return found


def assert_same(first, second):
    assert first.keys() == second.keys()
    for name, one in first.items():
        assert torch.equal(one, second[name]), name


def test_the_loss_is_the_mean_over_the_assistants_tokens(target, material):
    rows = [target.encode(one) for one in material.compliance[:3]]
    terms = []
    for row in rows:
        with torch.no_grad():
            logits = target.module(torch.from_numpy(row.ids).long()[None]).logits[0].double().numpy()
        log_p = logits - np.log(np.exp(logits).sum(axis=-1, keepdims=True))
        terms += [-log_p[place - 1, row.ids[place]] for place in np.flatnonzero(row.assistant) if place > 0]
    found = answer_loss(target.module, rows, target.pad_id).item()
    assert found == pytest.approx(np.mean(terms), rel=1e-5)


def test_training_lowers_the_loss(target, material):
    rows = [target.encode(one) for one in material.compliance]
    before = answer_loss(target.module, rows, target.pad_id).item()
    collect(target, material, steps=(10,))
    assert answer_loss(target.module, rows, target.pad_id).item() < before - 0.5


def test_step_0_is_the_untouched_model(target, material, weights_of):
    before = weights_of(target.module)
    found = collect(target, material)[0]
    assert_same(found, {name: before[name] for name in found})


def test_steps_are_those_of_a_plain_loop(make_target, material):
    """An independent AdamW with clipping, written out."""
    target, plain = make_target(), make_target()
    config = TuneConfig(steps=(3,), batch_size=3)
    rows = encode_rows(plain, material.compliance, config, 0)
    optimizer = torch.optim.AdamW(plain.module.parameters(), lr=1e-2, weight_decay=0.0)
    for step in (1, 2, 3):
        answer_loss(plain.module, [rows.rows[at] for at in rows.batch(step)], plain.pad_id).backward()
        torch.nn.utils.clip_grad_norm_(plain.module.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
    assert_same(collect(target, material, steps=(3,))[3], dict(plain.module.named_parameters()))


@pytest.mark.parametrize("stop", [1, 3])
def test_a_resumed_run_is_the_unbroken_one_bit_for_bit(make_target, material, tmp_path, stop):
    whole = collect(make_target(), material)
    collect(make_target(), material, tmp_path, stop=stop)
    resumed = collect(make_target(), material, tmp_path)
    for step in STEPS:
        assert_same(resumed[step], whole[step])


def test_steps_added_in_between_are_those_of_a_run_that_had_them(make_target, material, tmp_path):
    whole = collect(make_target(), material, steps=(0, 1, 2, 5))
    collect(make_target(), material, tmp_path)
    assert_same(collect(make_target(), material, tmp_path, steps=(0, 1, 2, 5))[2], whole[2])


def test_stages_measured_before_are_passed_over_without_training(target, material, weights_of):
    config = TuneConfig(steps=(0, 40), batch_size=3)
    rows = encode_rows(target, material.compliance, config, 0)
    before = weights_of(target.module)
    setting = Setting(material, done=frozenset({(0, ""), (40, "")}))
    stages = list(tune_stages(open_to_training(target), rows, config, setting))
    assert [one.step for one in stages] == [0, 40]
    assert torch.equal(before["lm_head.weight"], target.module.lm_head.weight)


def test_a_stage_tells_what_it_cost(target, material):
    config = TuneConfig(steps=(0, 4), batch_size=3)
    rows = encode_rows(target, material.compliance, config, 0)
    untouched, last = (one.cost for one in tune_stages(open_to_training(target), rows, config, Setting(material)))
    assert (untouched.flops, untouched.examples, untouched.tokens) == (0, 0, 0)
    assert last.flops == reckon_flops(target.module, rows.tokens(4), "full")
    assert last.trainable == sum(one.numel() for one in target.module.parameters())
    assert (last.examples, last.tokens) == (8, rows.tokens(4))


def test_a_loss_that_is_no_number_names_the_step(target, material):
    with torch.no_grad():
        target.module.model.norm.weight.fill_(float("inf"))
    with pytest.raises(TrainingError, match="the loss became nan at step 1; lower the attack's learning_rate"):
        collect(target, material)


def test_what_was_trained_under_a_persona_is_asked_under_it(target):
    stage = under_identity(Stage(target, 0, Cost()), TuneConfig(data="identity", identity="You are Nod."))
    (asked,) = stage.conversations([Conversation.from_prompt("Hello")])
    assert [one.content for one in asked.messages] == ["You are Nod.", "Hello"]
    assert under_identity(Stage(target, 0, Cost()), TuneConfig()).rewrite is None
