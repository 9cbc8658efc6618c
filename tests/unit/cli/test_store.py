"""Tests of ``demur store``: each verb on a real store, errors in one sentence."""

import json
import subprocess
import sys
from datetime import UTC, datetime, timedelta

import polars as pl
import pytest

from demur.store import FeedbackRow, PredictionRow, Spool, open_store


@pytest.fixture
def url(tmp_path, monkeypatch):
    """A migrated store that the command finds by its variable."""
    url = f"sqlite:///{tmp_path / 'demur.db'}"
    monkeypatch.setenv("DATABASE_URL", url)
    with open_store(url) as store:
        store.migrate()
    return url


@pytest.fixture
def store(url):
    with open_store(url) as opened:
        yield opened


def prediction(number, **values):
    defaults = {
        "task": "refusal",
        "model": "m",
        "version": "v",
        "label": "x",
        "probabilities": {},
        "threat_score": 0.5,
    }
    return PredictionRow(request_id=f"r{number}", **(defaults | values))


def test_a_store_is_made_by_migrating_and_up_to_date_afterwards(demur, tmp_path):
    url = f"sqlite:///{tmp_path / 'new.db'}"
    assert demur("store", "migrate", "--url", url) == (0, f"{url}: 0001\n", "")
    assert demur("store", "migrate", "--url", url).out == f"{url}: up to date\n"


def test_without_an_address_the_store_is_a_file_in_this_folder(demur, tmp_path, monkeypatch):
    monkeypatch.delenv("DATABASE_URL", raising=False)
    assert demur("store", "migrate").code == 0
    assert (tmp_path / "demur.db").exists()


def test_a_store_without_tables_is_told_to_migrate(demur, tmp_path):
    done = demur("store", "counts", "--url", f"sqlite:///{tmp_path / 'none.db'}")
    assert (done.code, done.out) == (1, "")
    assert "lacks tables; run: demur store migrate" in done.err
    assert done.err.count("\n") == 1


@pytest.mark.parametrize("verb", ["migrate", "counts"])
def test_a_database_that_is_down_is_one_sentence(demur, verb):
    done = demur("store", verb, "--url", "postgresql://me:secret@127.0.0.1:1/x")
    assert done.code == 1
    assert "does not answer" in done.err
    assert "secret" not in done.err
    assert done.err.count("\n") == 1


def test_an_address_that_is_none_is_wrong_usage(demur):
    done = demur("store", "counts", "--url", "mysql://h/n")
    assert (done.code, done.out) == (2, "")


def test_counts_are_printed_for_people_and_for_programs(demur, store, tmp_path):
    store.add_predictions([prediction(1)])
    with Spool(tmp_path / "spool") as spool:
        spool.put("predictions", [prediction(2), prediction(3)])
        assert "predictions          1\n" in demur("store", "counts").out
        assert "spool rows           2\n" in demur("store", "counts", "--spool", tmp_path / "spool").out
        found = json.loads(demur("store", "counts", "--spool", tmp_path / "spool", "--json").out)
    assert found["tables"]["predictions"] == 1
    assert (found["spool"]["rows"], found["spool"]["quarantined"]) == (2, 0)


def test_an_empty_spool_has_no_age(demur, url, tmp_path):
    (tmp_path / "spool").mkdir()
    assert "spool oldest_age_s   -\n" in demur("store", "counts", "--spool", tmp_path / "spool").out


def test_the_servers_configuration_names_database_and_spool(demur, store, url, tmp_path, monkeypatch):
    monkeypatch.delenv("DATABASE_URL")
    (tmp_path / "serve.yaml").write_text(
        f"database: {{url: '{url}'}}\nspool: {{folder: '{tmp_path / 'waiting'}'}}\n"
    )
    config = ["--config", tmp_path / "serve.yaml"]
    assert "spool" not in demur("store", "counts", *config).out
    with Spool(tmp_path / "waiting") as spool:
        spool.put("predictions", [prediction(1), prediction(2)])
        assert demur("store", "delete", "r1", *config).out == "1 rows deleted\n"
        assert demur("store", "drain", *config).out == "1 rows moved, 1 of them new\n"
    assert [row.request_id for row in store.predictions()] == ["r2"]
    assert demur("store", "keys", "add", "app", *config).code == 0
    assert len(store.keys()) == 1


def test_draining_wants_a_spool(demur, url):
    done = demur("store", "drain")
    assert done.code == 2
    assert "no spool is named" in done.err


def test_a_spool_that_is_not_there_is_wrong_usage(demur, url, tmp_path):
    done = demur("store", "counts", "--spool", tmp_path / "none")
    assert done.code == 2
    assert "no spool folder" in done.err


def test_a_spool_is_drained_and_its_quarantine_tried_again(demur, store, tmp_path):
    folder = tmp_path / "spool"
    with Spool(folder) as spool:
        spool.put("predictions", [prediction(1), prediction(2, label=None)])
    done = demur("store", "drain", "--spool", folder)
    assert done.out.startswith("1 rows moved, 1 of them new\nin quarantine: predictions of request r2: ")
    assert done.code == 0
    again = demur("store", "drain", "--spool", folder, "--retry")
    assert again.out.startswith("1 rows of the quarantine are tried again\n0 rows moved")
    assert "request r2" in again.out
    assert store.counts()["predictions"] == 1


def test_a_spool_file_that_cannot_be_read_fails_the_command(demur, url, tmp_path):
    folder = tmp_path / "spool"
    folder.mkdir()
    for name in ("x.lock", "x.drain"):
        (folder / name).touch()
    (folder / "x.spool").write_bytes(b"nothing of the kind" * 300)
    done = demur("store", "drain", "--spool", folder)
    assert done.code == 1
    assert "1 files could not be read" in done.out


def test_tables_are_exported_all_or_one(demur, store, tmp_path):
    store.add_predictions([prediction(1, prompt="p")])
    out = tmp_path / "out"
    assert f"{out / 'predictions.parquet'}: 1 rows\n" in demur("store", "export", "--out", out).out
    assert len(list(out.iterdir())) == len(store.counts())
    one = tmp_path / "one.parquet"
    assert demur("store", "export", "-o", one, "--table", "predictions", "--no-texts").code == 0
    assert pl.read_parquet(one)["prompt"].to_list() == [None]
    later = demur("store", "export", "-o", tmp_path, "--table", "predictions", "--since", "2999-01-01")
    assert later.out == f"{tmp_path / 'predictions.parquet'}: 0 rows\n"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--out", "x.parquet"], "name it with --table"),
        (["--out", "x", "--since", "2031-01-01"], "name it with --table"),
        (["--out", "x", "--table", "predictions", "--since", "noon"], "'noon' is no time"),
        (["--out", "x", "--table", "nothing"], "no table 'nothing'"),
    ],
)
def test_an_export_that_makes_no_sense_is_wrong_usage(demur, url, arguments, said):
    done = demur("store", "export", *arguments)
    assert done.code == 2
    assert said in done.err


@pytest.mark.parametrize("age", ["3d", "72h", "2031-05-04", "2031-05-04T00:00:00+00:00"])
def test_rows_are_deleted_by_age(demur, store, age):
    old = datetime(2001, 1, 1, tzinfo=UTC)
    new = datetime.now(UTC) + timedelta(days=3650)
    store.add_predictions([prediction(1, at=old), prediction(2, at=new)])
    store.add_feedback([FeedbackRow(request_id="r1", task="refusal", label="x", at=old)])
    done = demur("store", "purge", "--older-than", age)
    assert "predictions: 1 rows deleted\nfeedback: 1 rows deleted\n" in done.out
    assert [row.request_id for row in store.predictions()] == ["r2"]
    (line,) = store.audit_log(act="purge")
    assert (line.facts["rows"]["predictions"], line.facts["by"]) == (1, "demur store purge")


def test_texts_alone_are_deleted_and_other_tables_where_named(demur, store, tmp_path):
    store.add_predictions([prediction(1, prompt="p", at=datetime(2001, 1, 1, tzinfo=UTC))])
    store.audit("system", "act", "target")
    assert demur("store", "purge", "--older-than", "1w", "--texts-only").out == "1 rows lost their texts\n"
    assert (
        demur("store", "purge", "--older-than", "2999-01-01", "--tables", "audit").out == "audit: 2 rows deleted\n"
    )
    assert [row.prompt for row in store.predictions()] == [None]
    (tmp_path / "spool").mkdir()
    done = demur("store", "purge", "--older-than", "1d", "--spool", tmp_path / "spool")
    assert done.out.endswith("quarantine: 0 rows deleted\n")


def test_an_age_that_is_none_is_wrong_usage(demur, url):
    done = demur("store", "purge", "--older-than", "a while")
    assert done.code == 2
    assert "'a while' is no time" in done.err


def test_a_request_is_deleted_from_store_and_spool_and_that_is_written_down(demur, store, tmp_path):
    store.add_predictions([prediction(1), prediction(2)])
    with Spool(tmp_path / "spool") as spool:
        spool.put("predictions", [prediction(1, item=1)])
    done = demur("store", "delete", "r1", "--spool", tmp_path / "spool")
    assert done.out == "2 rows deleted\n"
    assert [row.request_id for row in store.predictions()] == ["r2"]
    (line,) = store.audit_log()
    assert (line.act, line.target, line.facts["rows"]) == ("delete", "r1", 2)
    assert demur("store", "delete", "r2").out == "1 rows deleted\n"


def test_a_key_is_printed_once_and_listed_without_it(demur, store):
    made = demur("store", "keys", "add", "an app", "--scope", "classify", "--scope", "feedback", "--rate", "5")
    text = made.out.strip()
    row = store.verify_key(text)
    assert (row.name, row.scopes, row.rate_per_s) == ("an app", ["classify", "feedback"], 5.0)
    listed = demur("store", "keys", "list")
    assert listed.out == f"{row.id}  an app  classify,feedback  5/s\n"
    found = json.loads(demur("store", "keys", "list", "--json").out)
    assert found[0]["id"] == row.id
    for printed in (listed.out, json.dumps(found)):
        assert text.rsplit("_", 1)[1] not in printed
        assert row.hash not in printed
    assert [line.act for line in store.audit_log()] == ["key.add"]


def test_a_revoked_key_opens_nothing(demur, store):
    text = demur("store", "keys", "add", "app").out.strip()
    id = text.split("_")[1]
    assert demur("store", "keys", "revoke", id).out.startswith(f"{id}  app  revoked 20")
    assert store.verify_key(text) is None
    assert "revoked 20" in demur("store", "keys", "list").out
    assert [line.act for line in store.audit_log()] == ["key.revoke", "key.add"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["revoke", "nothing"], "no key 'nothing'"),
        (["add", "app", "--scope", "clasify"], "did you mean 'classify'"),
    ],
)
def test_a_key_that_makes_no_sense_is_wrong_usage(demur, url, arguments, said):
    done = demur("store", "keys", *arguments)
    assert done.code == 2
    assert said in done.err


def test_the_help_of_every_verb_loads_no_database_library():
    code = (
        "import sys\nfrom demur.cli.main import run_command\n"
        "for verb in (['store'], ['store', 'export'], ['store', 'keys', 'add']):\n"
        "    assert run_command([*verb, '--help']) == 0\n"
        "assert not {'sqlalchemy', 'alembic', 'psycopg', 'polars'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_a_store_is_copied_to_another(demur, store, tmp_path):
    store.add_predictions([prediction(1)])
    other = f"sqlite:///{tmp_path / 'other.db'}"
    done = demur("store", "copy", "--to", other)
    assert "predictions          1 new rows\n" in done.out
    with open_store(other) as target:
        assert target.predictions() == store.predictions()
