import json
from dataclasses import dataclass
from pathlib import Path

import pytest

from demur.certify import CertifyConfig, certify
from demur.certify import _run as module
from demur.config import parse_settings

ROWS = [{"path": "rows.jsonl"}]


@dataclass(frozen=True)
class Hardened:
    adapter: Path
    base: str

    def to_json(self):
        return {"base": self.base}


@pytest.fixture
def asked(monkeypatch, tmp_path):
    """What the loop asks of its parts, which answer at once."""
    found = []

    def stress(config, out, progress):
        (model,) = config.models
        found.append(("stress", model.model, model.defended, tuple(config.attacks)))
        return "stressed"

    def train(config, out, progress):
        found.append(("harden", config.target.model, None, ()))
        out.mkdir(parents=True, exist_ok=True)
        (out / "harden.json").write_text(json.dumps({"steps": 3}), encoding="utf-8")
        return Hardened(
            out / "adapter", config.target.model if config.target.adapter is None else str(out / "base")
        )

    def card(view, training, model):
        found.append(("card", model, training["steps"], ()))
        return "card"

    monkeypatch.setattr(module, "run_stress", stress)
    monkeypatch.setattr(module, "harden", train)
    monkeypatch.setattr(module, "make_card", card)
    monkeypatch.setattr(module, "write_card", lambda card, folder: found.append(("write", str(folder), None, ())))
    monkeypatch.setattr(
        module, "write_stress_report", lambda folder: found.append(("page", folder.name, None, ()))
    )
    return found


def made(**target):
    values = {
        "target": {"model": "base", **target},
        "stress": {"attacks": {"prefill": {}}, "data": {"harmful": "harmful.jsonl"}},
        "harden": {"data": {"breakers": ROWS, "retain": ROWS}},
    }
    return parse_settings(CertifyConfig, values)


def test_the_base_comes_first_then_the_breaker_then_both(asked, tmp_path):
    found = certify(made(), tmp_path)
    adapter = str(tmp_path / "harden" / "adapter")
    assert asked == [
        ("stress", "base", None, ("prefill",)),
        ("harden", "base", None, ()),
        ("stress", "base", adapter, ("prefill", "revert", "attenuate")),
        ("page", "stress", None, ()),
        ("card", "base", 3, ()),
        ("write", str(tmp_path), None, ()),
    ]
    assert (found.folder, found.card) == (tmp_path, "card")


def test_a_target_with_an_adapter_is_stressed_as_the_merged_base(asked, tmp_path):
    certify(made(adapter="taught"), tmp_path)
    assert [one[:2] for one in asked][:2] == [("harden", "base"), ("stress", str(tmp_path / "harden" / "base"))]


def test_the_folder_is_the_configuration_s_where_none_is_given(asked, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert certify(made()).folder == Path("runs/certify")


def test_the_result_is_card_and_hardening(tmp_path):
    class Card:
        def to_json(self):
            return {"format": 1}

    found = module.Certified(tmp_path, Hardened(tmp_path, "base"), None, Card())
    assert found.to_json() == {"card": {"format": 1}, "hardened": {"base": "base"}}
