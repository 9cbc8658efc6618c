import pytest

from demur.config import parse_settings
from demur.errors import ConfigError, RegistryError
from demur.stress import StressConfig
from demur.stress._jobs import expand_attacks, plan_jobs


def config(attacks, **changes):
    return parse_settings(StressConfig, {"attacks": attacks, "data": {"harmful": "a"}, "seeds": [3]} | changes)


def test_several_values_for_one_setting_make_a_grid():
    found = expand_attacks(config({"lora": {"data": ["compliance", "benign"], "rank": [4, 16], "steps": [0, 1]}}))
    assert [one.name for one in found] == ["direct"] + ["lora"] * 4
    assert {(one.config.data, one.config.rank) for one in found[1:]} == {
        (data, rank) for data in ("compliance", "benign") for rank in (4, 16)
    }
    assert {one.config.steps for one in found[1:]} == {(0, 1)}


def test_settings_that_take_a_list_are_not_varied():
    found = expand_attacks(config({"lora": {"modules": ["q_proj", "v_proj"]}}))
    assert [one.config.modules for one in found[1:]] == [("q_proj", "v_proj")]


def test_several_settings_of_one_attack_may_be_listed():
    found = expand_attacks(config({"lora": [{"rank": 4}, {"rank": 8}, {"rank": 4}]}))
    assert [one.config.rank for one in found[1:]] == [4, 8]


def test_the_untouched_model_is_asked_once():
    assert [one.name for one in expand_attacks(config({"direct": {}}))] == ["direct"]


@pytest.mark.parametrize(
    ("attacks", "error", "wanted"),
    [
        ({"lorra": {}}, RegistryError, "no attack is called 'lorra'.*did you mean 'lora'"),
        ({"lora": {"rnak": 4}}, ConfigError, "the attack 'lora': unknown key 'rnak'; did you mean 'rank'"),
        ({"lora": {"rank": [4, 0]}}, ConfigError, "the attack 'lora': key 'rank'"),
        ({"lora": {"rank": []}}, ConfigError, "the attack 'lora' has an empty list for 'rank'"),
    ],
)
def test_attacks_that_cannot_be_are_refused(attacks, error, wanted):
    with pytest.raises(error, match=wanted):
        expand_attacks(config(attacks))


def test_bases_come_first_and_every_side_has_every_attack(material):
    models = [{"model": "a", "defended": "d"}, {"model": "b"}]
    jobs = plan_jobs(config({"lora": {}}, models=models, seeds=[0, 1]), material)
    assert len(jobs) == 2 * (2 + 1) * 2
    assert [job.is_base for job in jobs[:2]] == [True, True]
    assert {job.attack for job in jobs if job.is_defended} == {"direct", "lora"}
    assert [job.model.title for job in jobs] == ["a"] * 8 + ["b"] * 4


def test_what_undoes_a_defence_leaves_the_undefended_side_alone(material):
    models = [{"model": "a", "defended": "d"}, {"model": "b"}]
    jobs = plan_jobs(config({"revert": {}, "attenuate": {}}, models=models), material)
    found = [(job.model.title, job.is_defended) for job in jobs if job.attack != "direct"]
    assert found == [("a", True)] * 2 + [("b", False)] * 2


def test_a_title_tells_cells_apart(material):
    titles = [job.title for job in plan_jobs(config({"lora": {"rank": [4, 8]}}), material)]
    assert titles[1] == "smollm2 · lora · data compliance · rank 4 · rate 0.0002 · seed 3".replace(
        "smollm2", titles[0].split(" · ")[0]
    )
    assert len(set(titles)) == 3
