import asyncio

import pytest

from demur.errors import SpoolFullError
from demur.serve import Identity
from demur.serve.api import Metrics, Recorder
from demur.serve.api._record import keep_text
from demur.serve.pool import Texts
from demur.store import FeedbackRow
from demur.store.spool import Spool

IDENTITY = Identity([b"0123456789abcdef"])
ROWS = [FeedbackRow(request_id="r", task="refusal", label="no_refusal")]


@pytest.fixture
def spool(tmp_path):
    with Spool(tmp_path / "spool") as opened:
        yield opened


def record(spool, mode, rows=ROWS, again=None):
    metrics = Metrics()
    recorder = Recorder(spool, mode, metrics)

    async def put():
        await recorder.put("feedback", rows, again)
        await recorder.flush()

    asyncio.run(put())
    return metrics.show().decode()


def full(spool):
    spool.max_bytes = 1
    return spool


@pytest.mark.parametrize(("mode", "rows"), [("durable", 1), ("best_effort", 1), ("off", 0)])
def test_rows_are_put_as_surely_as_was_asked_for(spool, mode, rows):
    shown = record(spool, mode)
    assert spool.stats().rows == rows
    assert ('demur_records_total{result="kept"} 1.0' in shown) == bool(rows)


def test_a_kind_of_rows_may_be_surer_than_others(spool):
    record(spool, "best_effort", again="durable")
    assert spool.stats().rows == 1


def test_what_must_be_recorded_and_cannot_be_is_said(spool):
    with pytest.raises(SpoolFullError, match="is full"):
        record(full(spool), "durable")


def test_what_need_not_be_recorded_is_counted_as_lost(spool):
    assert 'demur_records_total{result="lost"} 1.0' in record(full(spool), "best_effort")


def test_no_rows_are_no_work(spool):
    record(full(spool), "durable", rows=[])
    assert spool.stats().rows == 0


@pytest.mark.parametrize(
    ("log", "has_text", "has_hash"), [("full", True, True), ("hashed", False, True), ("none", False, False)]
)
def test_of_texts_is_kept_what_the_configuration_says(log, has_text, has_hash):
    kept = keep_text(Texts("a prompt", "a response"), log, IDENTITY)
    assert (kept.prompt, kept.response) == (("a prompt", "a response") if has_text else (None, None))
    hashes = (IDENTITY.hash_text("a prompt"), IDENTITY.hash_text("a response"))
    assert (kept.prompt_hash, kept.response_hash) == (hashes if has_hash else (None, None))


@pytest.mark.parametrize("log", ["full", "hashed", "none"])
def test_a_text_that_was_not_there_leaves_nothing(log):
    kept = keep_text(Texts(response="x"), log, IDENTITY)
    assert (kept.prompt, kept.prompt_hash) == (None, None)
