import pytest

from demur.cli.main import run_command
from demur.cli.serve import describe_ground
from demur.serve import Ground, load_serve
from demur.serve.pool import find_models


def test_a_server_without_a_model_does_not_begin(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert run_command(["serve", "--port", "0"]) == 2
    assert capsys.readouterr().err.startswith("demur: no model is given; name a saved model")


def test_a_folder_that_is_no_model_is_refused(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert run_command(["serve", "--port", "0", "--model", "gone"]) == 1
    assert "there is no folder gone" in capsys.readouterr().err


def test_a_checkpoint_whose_head_is_new_is_refused(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "bert").mkdir()
    (tmp_path / "bert" / "config.json").write_text("{}")
    assert run_command(["serve", "--port", "0", "--model", "bert"]) == 1
    assert "newly initialised" in capsys.readouterr().err


def test_a_port_in_use_is_said(capsys, tmp_path, monkeypatch):
    import socket

    monkeypatch.chdir(tmp_path)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        assert run_command(["serve", "--port", str(taken.getsockname()[1]), "--model", "x"]) == 2
    assert "is in use" in capsys.readouterr().err


def test_a_wrong_key_of_the_configuration_is_said(capsys, tmp_path):
    (tmp_path / "guard.yaml").write_text("worker: 2")
    assert run_command(["serve", str(tmp_path / "guard.yaml")]) == 2
    assert "did you mean 'workers'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("required", "has_keys", "said"),
    [
        (False, False, "no key is needed"),
        (True, True, "a key is needed: Authorization: Bearer KEY"),
        (True, False, "a key is needed and there is none; make one: demur store keys"),
        (True, None, "a key is needed and there is none"),
    ],
)
def test_whoever_starts_it_is_told_of_keys(rules_row, required, has_keys, said):
    config = load_serve(None, {"keys": {"required": required}})
    lines = describe_ground(config, Ground((rules_row,), True, has_keys))
    assert lines[0] == f"refusal: rules {rules_row.version[:12]} in {rules_row.folder}"
    assert any(line.startswith(said) for line in lines)


def test_a_database_that_does_not_answer_is_told(rules_row):
    assert "does not answer" in describe_ground(load_serve(), Ground((rules_row,), False, None))[1]


@pytest.fixture
def rules_row(tmp_path):
    from demur.models.rules import RulesClassifier
    from demur.tasks import REFUSAL

    RulesClassifier(REFUSAL).save(tmp_path / "rules")
    (row,) = find_models([tmp_path / "rules"])
    return row
