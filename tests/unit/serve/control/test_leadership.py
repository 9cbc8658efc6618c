import time

import pytest

from demur.errors import StoreUnavailableError
from demur.serve.control import LEASE, Leadership
from demur.store import open_store


@pytest.fixture
def both(any_url):
    """Two candidates, each with connections of its own."""
    with open_store(any_url) as first, open_store(any_url) as second:
        first.migrate()
        yield Leadership(first, 1.0), Leadership(second, 1.0)


def test_one_of_two_leads(both):
    assert [one.renew() for one in both] == [True, False]
    assert [one.is_leader for one in both] == [True, False]


def test_holders_are_never_equal(both):
    assert both[0].holder != both[1].holder


def test_whoever_stops_renewing_loses_it_before_another_can_have_it(both, until):
    first, second = both
    first.renew()
    while not second.renew():
        time.sleep(0.02)
    assert not first.is_leader
    assert not first.renew()


def test_renewing_keeps_it_beyond_its_time(store):
    # Long enough for a busy machine to renew in time.
    first, second = Leadership(store, 3.0), Leadership(store, 3.0)
    first.renew()
    end = time.monotonic() + 3.5
    while time.monotonic() < end:
        assert first.renew()
        assert not second.renew()
        time.sleep(0.05)


def test_given_back_it_is_free_at_once_and_not_taken_again(both):
    first, second = both
    first.renew()
    first.release()
    assert not first.is_leader
    assert second.renew()
    assert not first.renew()


def test_the_lease_is_named(store):
    Leadership(store, 5.0).renew()
    assert [one.name for one in store.leases()] == [LEASE]


def test_it_is_renewed_several_times_in_its_time(store):
    assert Leadership(store, 8.0).renew_every_s == 2.0


def test_a_database_that_is_down_leaves_what_was_held_until_its_time(postgres_server, postgres, until):
    with open_store(postgres) as store:
        store.migrate()
        held = Leadership(store, 5.0)
        held.renew()
        postgres_server.stop("immediate")
        with pytest.raises(StoreUnavailableError, match="does not answer"):
            held.renew()
        until(lambda: not held.is_leader)
