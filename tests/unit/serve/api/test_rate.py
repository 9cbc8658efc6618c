import multiprocessing

import pytest
from hypothesis import given
from hypothesis import strategies as st

from demur.serve.api import SharedBuckets
from demur.serve.api._rate import name_address


class Clock:
    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def buckets(tmp_path, clock):
    opened = SharedBuckets(tmp_path / "rates", clock=clock)
    yield opened
    opened.close()


def test_a_key_may_use_its_burst_at_once_and_then_its_rate(buckets, clock):
    assert [buckets.take("a", 2, 2) for _ in range(4)] == [0, 0, 0, 0]
    assert buckets.take("a", 2, 2) == pytest.approx(0.5)
    clock.now += 0.5
    assert buckets.take("a", 2, 2) == 0
    assert buckets.take("a", 2, 2) > 0


def test_what_was_not_used_does_not_pile_up(buckets, clock):
    buckets.take("a", 1, 3)
    clock.now += 1000
    assert [buckets.take("a", 1, 3) == 0 for _ in range(4)] == [True, True, True, False]


def test_one_request_is_always_let_through(buckets):
    assert buckets.take("a", 0.01, 1) == 0
    assert buckets.take("a", 0.01, 1) == pytest.approx(100)


def test_keys_do_not_share_a_bucket(buckets):
    assert [buckets.take(name, 1, 1) for name in "abc"] == [0, 0, 0]
    assert buckets.take("a", 1, 1) > 0


def test_the_file_is_shared(tmp_path, buckets, clock):
    other = SharedBuckets(tmp_path / "rates", clock=clock)
    assert buckets.take("a", 1, 1) == 0
    assert other.take("a", 1, 1) > 0
    other.close()


def test_more_names_than_slots_take_over_the_oldest(tmp_path, clock):
    few = SharedBuckets(tmp_path / "few", slots=4, clock=clock)
    for number in range(40):
        clock.now += 1
        assert few.take(f"name {number}", 1, 1) == 0
    assert few.take("name 39", 1, 1) > 0
    few.close()


@given(st.lists(st.floats(0, 3), min_size=1, max_size=60), st.floats(0.2, 20), st.floats(0.1, 5))
def test_in_any_time_no_more_pass_than_burst_and_rate_allow(tmp_path_factory, waits, rate, burst_s):
    clock = Clock()
    buckets = SharedBuckets(tmp_path_factory.mktemp("rates") / "rates", slots=8, clock=clock)
    began, passed = clock.now, 0
    for wait in waits:
        clock.now += wait
        passed += buckets.take("a", rate, burst_s) == 0
        assert passed <= max(1.0, rate * burst_s) + rate * (clock.now - began) + 1e-6
    buckets.close()


def _take_many(path, count, found):
    buckets = SharedBuckets(path)
    found.put(sum(buckets.take("a", 0.001, 50_000) == 0 for _ in range(count)))
    buckets.close()


def test_processes_that_take_at_once_take_no_token_twice(tmp_path):
    context = multiprocessing.get_context("spawn")
    found = context.Queue()
    workers = [context.Process(target=_take_many, args=(tmp_path / "rates", 40, found)) for _ in range(2)]
    for worker in workers:
        worker.start()
    passed = sum(found.get(timeout=120) for _ in workers)
    for worker in workers:
        worker.join(120)
    assert passed == 50


@pytest.mark.parametrize(
    ("host", "name"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3::4", "2001:db8:1:2::/64"),
        ("2001:db8:1:2:ffff::9", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("testclient", "testclient"),
        ("", ""),
    ],
)
def test_of_ipv6_the_network_has_the_rate(host, name):
    """Whoever has one address there has 2**64 of them."""
    assert name_address(host) == name
