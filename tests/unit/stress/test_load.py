import json

import pytest

from demur.errors import ConfigError
from demur.stress import load_stress


def write(folder, **values):
    path = folder / "grid.json"
    path.write_text(
        json.dumps({"attacks": {"lora": {}}, "data": {"harmful": "a.jsonl"}} | values), encoding="utf-8"
    )
    return path


def test_files_beside_the_configuration_are_found(tmp_path):
    (tmp_path / "a.jsonl").write_text("", encoding="utf-8")
    (tmp_path / "breaker").mkdir()
    found = load_stress(write(tmp_path, models=[{"model": "x/y", "defended": "breaker"}]))
    assert found.data.harmful[0].path == str(tmp_path / "a.jsonl")
    assert found.models[0].defended == str(tmp_path / "breaker")
    assert found.models[0].model == "x/y"


def test_overrides_win_over_environment_and_file(tmp_path, monkeypatch):
    monkeypatch.setenv("DEMUR_LIMIT", "5")
    assert load_stress(write(tmp_path, limit=9)).limit == 5
    assert load_stress(write(tmp_path, limit=9), {"limit": 2}).limit == 2


def test_a_fault_names_the_file(tmp_path):
    with pytest.raises(ConfigError, match=r"grid\.json: unknown key 'x'"):
        load_stress(write(tmp_path, x=1))
