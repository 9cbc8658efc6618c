import pytest

from demur.certify import load_certify
from demur.errors import ConfigError

TEXT = """
name: loop
target: {model: base}
stress: {attacks: {direct: {}}, data: {harmful: harmful.jsonl}}
harden: {data: {breakers: [{path: rows.jsonl}], retain: [{path: rows.jsonl}]}}
"""


@pytest.fixture
def path(tmp_path):
    (tmp_path / "rows.jsonl").touch()
    (tmp_path / "harmful.jsonl").touch()
    found = tmp_path / "loop.yaml"
    found.write_text(TEXT, encoding="utf-8")
    return found


def test_files_beside_the_configuration_are_found(path):
    config = load_certify(path)
    assert config.name == "loop"
    assert config.harden.data.breakers[0].path == str(path.parent / "rows.jsonl")
    assert config.stress.data.harmful[0].path == str(path.parent / "harmful.jsonl")


def test_flags_lie_over_the_file(path):
    assert load_certify(path, {"harden": {"steps": 7}}).harden.steps == 7


def test_an_unknown_key_names_the_nearest(path):
    path.write_text(TEXT.replace("harden:", "hardn:"), encoding="utf-8")
    with pytest.raises(ConfigError, match=r"hardn"):
        load_certify(path)
