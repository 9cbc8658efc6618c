"""Tests of leases: of many who ask at once one holds, until it stops renewing."""

import threading
import time
from datetime import timedelta
from itertools import pairwise

import pytest

from demur.store import open_store


def wait_for(true, seconds=20):
    end = time.monotonic() + seconds
    while not (found := true()):
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.02)
    return found


def test_a_lease_is_held_by_one_and_renewed_by_it(store):
    first = store.lease("control", "a", 60)
    assert (first.holder, first.token) == ("a", 1)
    assert store.lease("control", "b", 60) is None
    again = store.lease("control", "a", 120)
    assert again.token == 1
    assert again.expires_at > first.expires_at + timedelta(seconds=30)
    assert store.leases() == [again]


def test_leases_of_other_names_do_not_matter(store):
    assert store.lease("control", "a", 60)
    assert store.lease("drain", "b", 60)


def test_a_lease_that_ended_passes_on_with_a_higher_token(store):
    store.lease("control", "a", 0.05)
    taken = wait_for(lambda: store.lease("control", "b", 60))
    assert (taken.holder, taken.token) == ("b", 2)
    assert store.lease("control", "a", 60) is None


def test_a_lease_given_back_is_free_at_once_and_its_token_goes_on(store):
    store.lease("control", "a", 60)
    assert not store.release("control", "b")
    assert store.release("control", "a")
    assert not store.release("control", "a")
    assert store.lease("control", "b", 60).token == 2
    assert not store.release("nothing", "a")


@pytest.mark.parametrize("expired", [False, True])
def test_of_many_that_race_one_wins(url, expired):
    """Each racer has a store of its own, as processes have."""
    with open_store(url) as first:
        first.migrate()
        if expired:
            first.lease("control", "old", 0)
    barrier, won = threading.Barrier(6), []

    def race(name):
        with open_store(url) as store:
            store.ping()
            barrier.wait()
            lease = store.lease("control", name, 60)
            if lease is not None:
                won.append((name, lease))

    threads = [threading.Thread(target=race, args=(f"h{number}",)) for number in range(6)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    ((name, lease),) = won
    assert (lease.holder, lease.token) == (name, 2 if expired else 1)


def test_no_two_hold_at_once_while_holders_come_and_go(url):
    """Two take turns for a while; between a lease and its end by the holder's own clock nobody else has it."""
    with open_store(url) as store:
        store.migrate()
    spans, tokens, end = [], [], time.monotonic() + 1.5

    def take(name):
        with open_store(url) as store:
            while time.monotonic() < end:
                asked = time.monotonic()
                lease = store.lease("control", name, 0.1)
                if lease is None:
                    time.sleep(0.005)
                    continue
                held = time.monotonic()
                spans.append((held, asked + 0.1, name))
                tokens.append((lease.token, name))
                time.sleep(0.15)

    threads = [threading.Thread(target=take, args=(name,)) for name in "ab"]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    ordered = sorted(spans)
    assert {name for _, name in tokens} == {"a", "b"}
    for (_, ends, name), (starts, _, other) in pairwise(ordered):
        assert name == other or starts >= ends
    assert len({token for token, _ in tokens}) == len({(token, name) for token, name in tokens})
