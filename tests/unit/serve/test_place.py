import json

import pytest

from demur.errors import SecretError
from demur.serve import load_serve
from demur.serve._place import Place, read_place, row_from_json, row_to_json, write_place
from demur.serve.pool import find_models
from demur.serve.secrets import Secrets


@pytest.fixture
def place(tmp_path, rules_folder, monkeypatch):
    monkeypatch.delenv("DATABASE_URL", raising=False)
    config = load_serve(
        None, {"database": {"url": "postgresql://demur:${secret:DB_PASSWORD}@host/demur"}, "port": 7}
    )
    return Place(
        role="worker",
        number=3,
        config=config,
        folder=tmp_path,
        champions=tuple(find_models([rules_folder])),
        signing=("first", "second"),
        socket=5,
        listens_at_once=True,
    )


def test_a_child_reads_what_the_supervisor_wrote_with_its_secrets_looked_up(place, monkeypatch):
    monkeypatch.setenv("DB_PASSWORD", "hunter/2")
    secrets = Secrets()
    found = read_place(write_place(place, secrets))
    assert secrets.reveal(found.config.database.url) == "postgresql://demur:hunter%2F2@host/demur"
    assert found.config.port == 7
    for name in ("role", "number", "folder", "champions", "signing", "socket", "listens_at_once"):
        assert getattr(found, name) == getattr(place, name)


def test_a_secret_that_is_nowhere_is_said(place, monkeypatch):
    monkeypatch.delenv("DB_PASSWORD", raising=False)
    with pytest.raises(SecretError, match="DB_PASSWORD"):
        write_place(place, Secrets())


def test_a_row_of_the_registry_survives_as_json(place):
    row = place.champions[0]
    assert row_from_json(json.loads(json.dumps(row_to_json(row)))) == row
