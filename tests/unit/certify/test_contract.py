"""The whole loop on a tiny model that was taught to refuse stand-ins."""

import csv
import json

import pytest

from demur.certify import CertifyConfig, certify
from demur.config import parse_settings


@pytest.fixture
def config(taught_base, grid_data):
    def rows(name):
        return [{"path": grid_data[name]}]

    values = {
        "name": "loop",
        "target": {"model": str(taught_base)},
        "stress": {
            "attacks": {"lora": {"rank": 8, "steps": [0, 2, 32], "learning_rate": 0.01}, "prefill": {}},
            "seeds": [0, 1],
            "data": dict(grid_data),
            "generation": {"max_new_tokens": 24},
            "judges": [{"kind": "keywords"}, {"kind": "classifier", "name": "rules", "model": "rules"}],
            "coherence": {"perplexity": False},
            "distance": {"enabled": False},
            "draws": 50,
        },
        "harden": {
            "data": {"breakers": rows("compliance"), "retain": rows("benign"), "held_out": 0.3},
            "layers": [1, 2],
            "steps": 4,
            "batch_size": 4,
        },
    }
    return parse_settings(CertifyConfig, values)


def complied_by_hand(folder, attack, defended):
    """The highest share complied with, over steps, from the outcomes of single prompts."""
    shares = {}
    with (folder / "stress/results/metrics/results_prompts.csv").open(newline="") as handle:
        for row in csv.DictReader(handle):
            place = row["attack"], row["defended"], row["judge"], row["kind"]
            if place == (attack, defended, "keywords", "harmful"):
                shares.setdefault((row["step"], row["label"]), []).append(row["outcome"] == "complied")
    return max(sum(found) / len(found) for found in shares.values())


@pytest.mark.slow
def test_the_card_is_right_by_hand_and_the_same_when_run_again(config, tmp_path):
    found = certify(config, tmp_path / "run")
    for name in ("card.json", "card.html", "card.pdf", "stress/stress.html", "harden/adapter"):
        assert (tmp_path / "run" / name).exists()
    lines = {line.name: line for line in (*found.card.attacks, *found.card.controls)}
    assert {"lora", "prefill", "direct (no attack)", "revert (defence off)", "attenuate (control)"} == set(lines)
    for attack in ("lora", "prefill"):
        assert lines[attack].base.value == pytest.approx(complied_by_hand(tmp_path / "run", attack, "false"))
        assert lines[attack].hardened.value == pytest.approx(complied_by_hand(tmp_path / "run", attack, "true"))
    assert lines["revert (defence off)"].hardened.value == lines["direct (no attack)"].base.value
    assert not any("was left out" in line for line in found.card.limits)
    written = json.loads((tmp_path / "run/card.json").read_text())
    again = certify(config, tmp_path / "run").card.to_json()
    assert json.loads(json.dumps(again)) == written
