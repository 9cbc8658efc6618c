import shutil
from importlib import import_module
from pathlib import Path

import pytest
import torch
import yaml

from demur.config import merge_values
from demur.errors import ConfigError
from demur.stress import _keys
from demur.stress._data import load_stress_rows
from demur.stress._jobs import plan_jobs
from demur.stress._keys import cell_keys, hash_attack
from demur.stress.full import FullAttack
from demur.stress.lora import LoraAttack
from demur.stress.paraphrase import ParaphraseAttack


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


@pytest.fixture
def save_words(tmp_path):
    """Writes a file of wrappings or of words: ``save_words("paraphrase", "Please")``."""

    def save(attack, said):
        own = Path(import_module(f"demur.stress.{attack}").__file__).parent
        values = yaml.safe_load(next(own.glob("*.yaml")).read_text(encoding="utf-8"))
        if attack == "templates":
            values["wrappers"][0]["text"] = f"{said}: {{request}}"
        else:
            values["before"] = [said]
        path = tmp_path / f"{attack}.yaml"
        path.write_text(yaml.safe_dump(values), encoding="utf-8")
        return str(path)

    return save


@pytest.mark.parametrize("attack", ["templates", "paraphrase"])
def test_another_text_in_a_file_that_an_attack_reads_is_another_attack(keys_of, save_words, attack):
    before, again, after = (
        keys_of(attack=attack, attacks={attack: {"file": save_words(attack, said)}})
        for said in ("Hi", "Hi", "Please")
    )
    assert before == again
    assert all(one != other for one, other in zip(before, after, strict=True))


def test_a_file_of_an_attack_that_is_not_there_is_refused_with_its_name(keys_of):
    with pytest.raises(ConfigError, match=r"the wrappings in nowhere.yaml cannot be read"):
        keys_of(attack="templates", attacks={"templates": {"file": "nowhere.yaml"}})


def test_a_model_that_rewrites_is_known_by_what_is_in_its_folder(keys_of, taught_base, tmp_path):
    folder = tmp_path / "writer"
    shutil.copytree(taught_base, folder)
    given = {"attack": "paraphrase", "attacks": {"paraphrase": {"model": {"model": str(folder)}}}}
    before = keys_of(**given)
    text = (folder / "tokenizer_config.json").read_text(encoding="utf-8")
    (folder / "tokenizer_config.json").write_text(f"{text} ", encoding="utf-8")
    assert keys_of(**given)[0] != before[0]


def test_the_encoder_of_distances_has_a_say_in_the_figures_alone(keys_of, monkeypatch, tmp_path):
    (tmp_path / "config.json").write_text("{}", encoding="utf-8")
    given = {"distance": {"enabled": True, "encoder": str(tmp_path)}}
    before = keys_of(**given)
    (tmp_path / "config.json").write_text('{"hidden_size": 2}', encoding="utf-8")
    after = keys_of(**given)
    assert (before[:2], before[2] == after[2]) == (after[:2], False)


def test_a_grid_goes_on_with_weights_of_the_same_type_alone(keys_of, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    before = keys_of()
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda: True)
    assert all(one != other for one, other in zip(before, keys_of(), strict=True))


def test_all_that_is_kept_with_the_responses_has_a_say_in_their_hash(monkeypatch):
    seen = []
    monkeypatch.setattr(_keys, "_hash_sources", lambda paths: seen.extend(one.name for one in paths) or "h")
    hash_attack.__wrapped__(LoraAttack)
    assert {"_answer.py", "_coherence.py", "_samples.py", "_utility.py", "_tune.py", "_adapter.py"} <= set(seen)


def test_the_lists_that_come_with_an_attack_have_a_say_in_its_hash(monkeypatch):
    seen = []
    monkeypatch.setattr(_keys, "_hash_sources", lambda paths: seen.extend(one.name for one in paths) or "h")
    hash_attack.__wrapped__(ParaphraseAttack)
    assert "words.yaml" in seen
