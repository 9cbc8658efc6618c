import pytest

from demur.certify import CertifyConfig
from demur.config import parse_settings
from demur.errors import ConfigError
from demur.harden import HardenConfig

ROWS = [{"path": "rows.jsonl"}]
VALUES = {
    "target": {"model": "some/model", "device": "cpu"},
    "stress": {"attacks": {"prefill": {}}, "data": {"harmful": "harmful.jsonl", "safe": "safe.jsonl"}},
    "harden": {"data": {"breakers": ROWS, "retain": ROWS}},
}


def made(**changes):
    return parse_settings(CertifyConfig, VALUES | changes)


def test_the_target_is_named_once_and_reaches_both_parts():
    config = made()
    assert config.harden.target == config.target
    assert config.plan_stress().models[0].target(False) == config.target
    assert config.title == "model"


@pytest.mark.parametrize(
    ("part", "key"), [("stress", "models"), ("harden", "target")], ids=["models of stress", "target of harden"]
)
def test_a_second_target_is_refused(part, key):
    with pytest.raises(ConfigError, match=rf"{part}.{key} is not used here; name the model once, under target"):
        made(**{part: VALUES[part] | {key: []}})


def test_another_target_in_a_ready_part_is_refused():
    harden = parse_settings(HardenConfig, VALUES["harden"])
    with pytest.raises(ConfigError, match=r"harden.target is another model than target"):
        made(harden=harden)


def test_the_base_is_stressed_without_the_controls_of_a_defence():
    config = made(stress=VALUES["stress"] | {"attacks": {"prefill": {}, "revert": {}}})
    assert list(config.plan_stress().attacks) == ["prefill"]


def test_a_defence_always_stands_beside_its_controls():
    found = made().plan_stress("runs/base", "runs/adapter")
    assert list(found.attacks) == ["prefill", "revert", "attenuate"]
    (model,) = found.models
    assert (model.model, model.adapter, model.defended, model.title) == (
        "runs/base",
        None,
        "runs/adapter",
        "model",
    )


def test_settings_of_controls_are_the_user_s():
    config = made(stress=VALUES["stress"] | {"attacks": {"attenuate": {"factors": [0.5]}}})
    assert config.plan_stress(defended="a").attacks["attenuate"] == {"factors": [0.5]}


def test_what_is_judged_on_is_never_trained_on():
    evaluation = made().plan_hardening().data.evaluation
    assert [source.path for source in evaluation] == ["harmful.jsonl", "safe.jsonl"]


def test_an_own_evaluation_set_is_added_to():
    data = VALUES["harden"]["data"] | {"evaluation": ROWS}
    assert [one.path for one in made(harden={"data": data}).plan_hardening().data.evaluation] == [
        "rows.jsonl",
        "harmful.jsonl",
        "safe.jsonl",
    ]


def test_tasks_are_measured_on_base_and_defence():
    stress = VALUES["stress"] | {"capability": {"tasks": ["colours"], "limit": 5}}
    found = made(stress=stress).plan_stress("runs/base", "runs/adapter")
    assert (found.capability.tasks, found.capability.limit) == (("colours",), 5)


def test_a_target_with_an_adapter_of_its_own_is_defended_as_its_merged_base():
    config = made(target=VALUES["target"] | {"adapter": "own"})
    assert config.plan_stress().models[0].adapter == "own"
    (model,) = config.plan_stress("runs/base", "runs/adapter").models
    assert (model.adapter, model.defended) == (None, "runs/adapter")
