import pytest

from demur.config import merge_values
from demur.llm import TargetConfig
from demur.stress._data import load_stress_rows
from demur.stress._jobs import plan_jobs
from demur.stress._keys import cell_keys, hash_attack, hash_target
from demur.stress.full import FullAttack
from demur.stress.lora import LoraAttack


@pytest.fixture
def keys_of(make_grid):
    """Keys of the fine-tuning cell of a grid: ``keys_of(limit=2)``."""

    def find(judges_hash="j", attack="lora", **changes):
        config = make_grid(**changes)
        rows = load_stress_rows(config)
        job = next(one for one in plan_jobs(config, rows.material) if one.attack == attack)
        keys = cell_keys(job, config, rows, judges_hash)
        return keys.work, keys.replies, keys.result

    return find


LORA = {"rank": 8, "steps": [0, 2, 8, 32], "learning_rate": 0.01}


@pytest.mark.parametrize(
    ("changes", "kept"),
    [
        ({"attacks": {"lora": LORA | {"rank": 2}}}, 0),
        ({"seeds": [1]}, 0),
        ({"limit": 2}, 1),
        ({"distance": {"enabled": True}}, 1),
        ({"generation": {"max_new_tokens": 5}}, 1),
        ({"attacks": {"lora": LORA | {"steps": [0, 1]}}}, 2),
        ({"judges_hash": "k"}, 2),
        ({"stop": {"times": 3}}, 2),
        ({"coherence": {"max_repetition": 0.4}}, 2),
        ({"generation": {"batch_size": 2}}, 3),
        ({"engine": {"kind": "ray"}}, 3),
    ],
)
def test_a_change_costs_what_depends_on_it(keys_of, changes, kept):
    same = [a == b for a, b in zip(keys_of(), keys_of(**changes), strict=True)]
    assert same == [True] * kept + [False] * (3 - kept)


def test_greedy_answers_of_the_base_serve_every_seed_and_drawn_ones_their_own(keys_of):
    first, second = (keys_of(attack="direct", seeds=[seed]) for seed in (0, 1))
    assert first[1] == second[1]
    assert first[2] != second[2]
    drawn = merge_values({"max_new_tokens": 24}, {"temperature": 1.0})
    first, second = (keys_of(attack="direct", seeds=[seed], generation=drawn) for seed in (0, 1))
    assert first[1] != second[1]


def test_attacks_have_hashes_of_their_own_sources():
    assert hash_attack(LoraAttack) == hash_attack(LoraAttack) != hash_attack(FullAttack)


def test_a_target_is_its_weights_template_and_system_message(taught_base, tmp_path):
    template = tmp_path / "chat.jinja"
    template.write_text("{{ messages }}", encoding="utf-8")
    given = [
        {},
        {"system": "Be brief."},
        {"chat_template": str(template)},
        {"dtype": "bf16"},
    ]
    assert len({hash_target(TargetConfig(model=str(taught_base), **one)) for one in given}) == 4
    assert hash_target(TargetConfig(model=str(taught_base), device="cpu")) == hash_target(
        TargetConfig(model=str(taught_base))
    )


def test_all_that_is_kept_with_the_responses_has_a_say_in_their_hash(monkeypatch):
    from demur.stress import _keys

    seen = []
    monkeypatch.setattr(_keys, "_hash_sources", lambda paths: seen.extend(one.name for one in paths) or "h")
    hash_attack.__wrapped__(LoraAttack)
    assert {"_answer.py", "_coherence.py", "_samples.py", "_utility.py", "_tune.py", "_adapter.py"} <= set(seen)
