"""Without its adapter a target answers as the base, bit for bit; without a base there is nothing to go back to."""

import pytest
import torch

from demur.errors import UsageError
from demur.stress import Material, Setting
from demur.stress.revert import RevertAttack


def test_the_adapter_is_off_while_the_stage_is_in_force_and_on_after(make_target, add_adapter, prompts, logits_of):
    base, target = make_target(), add_adapter(make_target())
    plain, defended = logits_of(base, prompts[0]), logits_of(target, prompts[0])
    assert not torch.equal(plain, defended)
    for stage in RevertAttack().stages(target, Setting(Material())):
        assert torch.equal(logits_of(stage.target, prompts[0]), plain)
        assert stage.cost.flops == 0
    assert torch.equal(logits_of(target, prompts[0]), defended)


def test_a_merged_defence_is_undone_by_its_base(make_target):
    base = make_target(seed=1)
    (stage,) = RevertAttack().stages(make_target(), Setting(Material(), base=base))
    assert stage.target is base


def test_the_adapter_is_on_again_when_the_iterator_is_closed(make_target, add_adapter, prompts, logits_of):
    target = add_adapter(make_target())
    defended = logits_of(target, prompts[0])
    iterator = RevertAttack().stages(target, Setting(Material()))
    next(iterator)
    iterator.close()
    assert torch.equal(logits_of(target, prompts[0]), defended)


def test_without_an_adapter_and_a_base_it_is_refused(target):
    with pytest.raises(UsageError, match="nothing to go back to from 'tiny': it has no adapter, and no base"):
        list(RevertAttack().stages(target, Setting(Material())))
