"""``demur harden``: what it takes, prints and ends with."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from demur.cli.main import run_command
from demur.harden import HardenConfig, HardenResult, KlSummary, Validation


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What the command asks of the library, which answers at once."""
    found: list[Any] = []

    def train(config: HardenConfig, out: Path | None, progress: Any = None) -> HardenResult:
        found.append((config, out))
        if progress is not None:
            progress(1, config.steps)
        folder = out or Path("runs") / config.name
        kl = KlSummary(0.0123, 0.5, 0.1, 40)
        return HardenResult(
            name=config.name,
            folder=folder,
            adapter=folder / "adapter",
            merged=folder / "merged" if config.merged else None,
            base=config.target.model,
            targets=(9, 19),
            trained_blocks=19,
            steps=config.steps,
            is_early=True,
            validations=(Validation(10, {9: 0.25, 19: 0.5}, {9: 1.5, 19: 2.0}, {1: 0.1, 2: 0.2}, kl),),
            history=(),
            rows={},
            memory={},
            seconds=3.0,
        )

    monkeypatch.setattr("demur.harden.harden", train, raising=False)
    return found


@pytest.fixture
def file(tmp_path: Path) -> str:
    data = {"breakers": [{"path": "b.jsonl"}], "retain": [{"path": "r.jsonl"}]}
    path = tmp_path / "harden.yaml"
    path.write_text(yaml.safe_dump({"data": data, "steps": 30}), encoding="utf-8")
    return str(path)


def test_it_prints_a_row_a_validation_and_where_the_adapter_is(
    asked: list[Any], file: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_command(["harden", file, "--out", "here", "--merged"]) == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert "10 0.250 0.500 0.75 0.5 1.500 2.000 0.150 0.0123" in printed
    assert "breaker: 30 steps (stopped early), layers 9, 19, 3 s" in printed
    assert "here/adapter here/merged" in printed


def test_what_hardly_moved_is_printed_with_its_digits_and_what_is_amiss_is_said(
    file: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    kl = KlSummary(0.01, 0.5, 0.1, 40, {"chat": 0.02})
    found = Validation(9, {9: 0.999999}, {9: 1.0}, {1: 0.1}, kl, {9: 1.234e-6}, {"chat": 0.125, "refusal": 0.25})
    result = HardenResult(
        *("breaker", Path("run"), Path("run/adapter"), None, "base", (9,), 9, 9, False, (found,), (), {}, {}, 3.0),
        notes=("the breaker has not turned",),
    )
    monkeypatch.setattr("demur.harden.harden", lambda *_: result, raising=False)
    assert run_command(["harden", file]) == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert "9 1.000 1.23e-06 1.000" in printed
    assert "held-out chat: retain L2 0.125, KL 0.0200 held-out refusal: retain L2 0.250" in printed
    assert "note: the breaker has not turned" in printed


def test_flags_are_laid_over_the_file(asked: list[Any], file: str) -> None:
    assert run_command(["harden", file, "--steps", "5", "--seed", "7"]) == 0
    ((config, out),) = asked
    assert (config.steps, config.seed, config.merged, out) == (5, 7, False, None)


def test_json_is_all_that_is_printed(asked: list[Any], file: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(["harden", file, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["targets"] == [9, 19]


def test_of_several_processes_one_tells(
    asked: list[Any], file: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RANK", "1")
    assert run_command(["harden", file, "--json"]) == 0
    assert len(asked) == 1
    assert capsys.readouterr().out == ""


def test_a_mistake_is_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "bad.yaml").write_text("layer: [1]\n", encoding="utf-8")
    assert run_command(["harden", str(tmp_path / "bad.yaml")]) == 2
    said = capsys.readouterr().err
    assert "unknown key 'layer'" in said
    assert len(said.splitlines()) == 1
