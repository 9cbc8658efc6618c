"""``demur certify`` as a command; the loop itself is tested in ``certify/``."""

import json
from types import SimpleNamespace

import pytest

from demur.cli.main import run_command
from demur.metrics import Estimate
from demur.report.card import AttackLine


def line(name, hardened, verdict):
    gone = Estimate(None, None, None, 0)
    found = Estimate(hardened, hardened - 0.1, hardened + 0.1, 20)
    return AttackLine(
        name, "It is done.", "weights", "step 4", Estimate(0.9, None, None, 20), found, gone, gone, verdict
    )


@pytest.fixture
def ran(monkeypatch, tmp_path):
    import demur.certify

    card = SimpleNamespace(
        attacks=(line("lora", 0.8, "wins"),),
        controls=(line("direct (no attack)", 0.1, "held"),),
        headline=("Against the hardened model lora (80 % complied with) still wins.",),
    )
    asked = []

    def run(config, out, grid, hardening):
        asked.append((config.name, out))
        hardening(1, 2)
        grid.start(2, 0)
        hardening(2, 2)
        return SimpleNamespace(folder=tmp_path / "run", card=card, to_json=lambda: {"card": {}})

    monkeypatch.setattr(demur.certify, "certify", run)
    return asked


@pytest.fixture
def config(tmp_path):
    path = tmp_path / "loop.yaml"
    path.write_text(
        "name: loop\nstress: {attacks: {direct: {}}, data: {harmful: a.jsonl}}\n"
        "harden: {data: {breakers: [{path: b.jsonl}], retain: [{path: b.jsonl}]}}\n",
        encoding="utf-8",
    )
    return str(path)


def test_the_card_is_printed_with_what_still_wins(ran, config, tmp_path, capsys):
    assert run_command(["certify", config, "--out", str(tmp_path / "x")]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "lora 0.90 0.80 [0.70, 0.90] - wins" in shown
    assert "lora (80 % complied with) still wins." in shown
    assert "card.pdf" in shown
    assert ran == [("loop", tmp_path / "x")]


def test_a_control_has_no_verdict(ran, config, capsys):
    run_command(["certify", config])
    row = next(line for line in capsys.readouterr().out.splitlines() if "direct" in line)
    assert "held" not in row


def test_json_is_the_whole_output(ran, config, capsys):
    assert run_command(["certify", config, "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"card": {}}


def test_a_configuration_that_is_not_there_is_one_sentence(capsys):
    assert run_command(["certify", "nowhere.yaml"]) == 2
    assert "no configuration file nowhere.yaml" in capsys.readouterr().err
