"""The baseline changes nothing and costs nothing."""

from demur.stress import Cost, Material, Setting
from demur.stress.direct import DirectAttack


def test_the_target_is_asked_as_it_is_at_no_cost(target, prompts):
    (stage,) = DirectAttack().stages(target, Setting(Material()))
    assert stage.target is target
    assert stage.conversations(prompts) == prompts
    assert stage.cost == Cost()
