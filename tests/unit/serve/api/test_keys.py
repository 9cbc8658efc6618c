import asyncio
import hmac
import random
import statistics
import threading
import time
from dataclasses import replace
from types import SimpleNamespace

import pytest

from demur.errors import StoreUnavailableError
from demur.serve import KeysConfig
from demur.serve.api import ApiError, Gate, Keyring, needs
from demur.store import _keys, hash_key, is_key, new_key, utc_now


class Keys:
    """A place where keys are kept, which can be down."""

    def __init__(self, *rows):
        self.rows, self.is_down, self.reads = list(rows), False, 0

    def __call__(self):
        self.reads += 1
        if self.is_down:
            raise StoreUnavailableError("the database does not answer")
        return list(self.rows)


class Clock:
    def __init__(self):
        self.now = 1000.0

    def __call__(self):
        return self.now


TEXT, ROW = new_key("one", ["classify"])
OTHER, OTHER_ROW = new_key("two", ["admin"])


@pytest.fixture
def clock():
    return Clock()


def make_gate(keys, clock, *, is_required=True, **config):
    keyring = Keyring(keys, KeysConfig(**config), clock)
    return Gate(keyring, is_required=is_required)


def admit(gate, header, scope="classify"):
    headers = {} if header is None else {"authorization": header}
    return asyncio.run(gate.admit(headers, needs(scope)["x-demur-access"]))


def test_a_key_lets_in_whom_it_was_made_for(clock):
    caller = admit(make_gate(Keys(ROW), clock), f"Bearer {TEXT}")
    assert (caller.key_id, caller.scopes) == (ROW.id, {"classify"})


@pytest.mark.parametrize("header", ["bearer  {}  ", "BEARER {}"])
def test_the_scheme_is_not_case_sensitive(clock, header):
    assert admit(make_gate(Keys(ROW), clock), header.format(TEXT)).key_id == ROW.id


@pytest.mark.parametrize(
    "header",
    ["Bearer", "Bearer x", "Bearer {0}x", "Bearer {1}", "Basic {0}", "{0}", "", "Bearer ü"],
)
def test_a_wrong_key_is_refused(clock, header):
    with pytest.raises(ApiError, match="not known, or revoked") as caught:
        admit(make_gate(Keys(ROW), clock), header.format(TEXT, TEXT[:-1]))
    assert caught.value.status == 401
    assert caught.value.headers["WWW-Authenticate"].startswith("Bearer")


def test_no_key_is_refused(clock):
    with pytest.raises(ApiError, match="a key is needed; send it as Authorization: Bearer KEY") as caught:
        admit(make_gate(Keys(ROW), clock), None)
    assert caught.value.status == 401


def test_another_scope_is_refused(clock):
    with pytest.raises(ApiError, match="has not the scope 'admin'") as caught:
        admit(make_gate(Keys(ROW), clock), f"Bearer {TEXT}", "admin")
    assert caught.value.status == 403


def test_public_routes_ask_for_nothing(clock):
    keys = Keys()
    assert admit(make_gate(keys, clock), None, "public").key_id is None
    assert keys.reads == 0


def test_without_required_keys_anybody_classifies_but_nobody_administers(clock):
    gate = make_gate(Keys(ROW), clock, is_required=False)
    assert admit(gate, None).scopes == {"classify", "feedback"}
    for scope in ("admin", "metrics"):
        with pytest.raises(ApiError, match="a key is needed"):
            admit(gate, None, scope)
    with pytest.raises(ApiError, match="not known"):
        admit(gate, "Bearer wrong")


def test_metrics_are_shown_to_administrators_or_to_all(clock):
    keyring = Keyring(Keys(OTHER_ROW), KeysConfig(), clock)
    closed = Gate(keyring, is_required=True)
    assert admit(closed, f"Bearer {OTHER}", "metrics").key_id == OTHER_ROW.id
    assert admit(Gate(keyring, is_required=True, are_metrics_public=True), None, "metrics").key_id is None


def test_a_session_goes_on_until_its_key_is_revoked(clock):
    keys = Keys(ROW, OTHER_ROW)
    gate = make_gate(keys, clock, refresh_s=5)
    assert asyncio.run(gate.recall(OTHER_ROW.id, "admin")).key_id == OTHER_ROW.id
    with pytest.raises(ApiError, match="has not the scope 'admin'"):
        asyncio.run(gate.recall(ROW.id, "admin"))
    keys.rows[1] = replace(OTHER_ROW, revoked_at=utc_now())
    clock.now += 6
    with pytest.raises(ApiError, match="the key of this session was revoked") as caught:
        asyncio.run(gate.recall(OTHER_ROW.id, "admin"))
    assert caught.value.status == 401
    with pytest.raises(ApiError, match="revoked"):
        asyncio.run(gate.recall("0" * 12, "admin"))


# How long keys are remembered


def test_keys_are_read_again_after_a_while_and_not_before(clock):
    keys = Keys(ROW)
    gate = make_gate(keys, clock, refresh_s=5)
    for _ in range(10):
        admit(gate, f"Bearer {TEXT}")
    assert keys.reads == 1
    clock.now += 6
    admit(gate, f"Bearer {TEXT}")
    assert keys.reads == 2


def test_a_revoked_key_is_refused_after_a_while(clock):
    from demur.store import utc_now

    keys = Keys(ROW)
    gate = make_gate(keys, clock, refresh_s=5)
    admit(gate, f"Bearer {TEXT}")
    keys.rows = [replace(ROW, revoked_at=utc_now())]
    clock.now += 6
    with pytest.raises(ApiError, match="revoked"):
        admit(gate, f"Bearer {TEXT}")


def test_a_new_key_is_known_at_once_and_a_made_up_one_asks_seldom(clock):
    keys = Keys()
    gate = make_gate(keys, clock, refresh_s=60)
    with pytest.raises(ApiError, match="not known"):
        admit(gate, f"Bearer {TEXT}")
    keys.rows = [ROW]
    clock.now += 2
    assert admit(gate, f"Bearer {TEXT}").key_id == ROW.id
    before = keys.reads
    for _ in range(50):
        with pytest.raises(ApiError, match="not known"):
            admit(gate, f"Bearer {OTHER}")
    assert keys.reads <= before + 1


def test_known_keys_are_trusted_while_the_database_is_down_but_not_for_ever(clock):
    keys = Keys(ROW)
    gate = make_gate(keys, clock, refresh_s=5, stale_s=100)
    admit(gate, f"Bearer {TEXT}")
    keys.is_down = True
    clock.now += 50
    assert admit(gate, f"Bearer {TEXT}").key_id == ROW.id
    clock.now += 60
    with pytest.raises(ApiError, match="keys cannot be checked now") as caught:
        admit(gate, f"Bearer {TEXT}")
    assert caught.value.status == 503
    keys.is_down = False
    clock.now += 2
    assert admit(gate, f"Bearer {TEXT}").key_id == ROW.id


def test_those_who_come_at_once_cause_one_reading(clock):
    keys = Keys(ROW)
    gate = make_gate(keys, clock)
    access = needs("classify")["x-demur-access"]

    async def all_at_once():
        headers = {"authorization": f"Bearer {TEXT}"}
        return await asyncio.gather(*(gate.admit(headers, access) for _ in range(20)))

    assert len(asyncio.run(all_at_once())) == 20
    assert keys.reads == 1


HALF = len(TEXT) - 1
WRONG = {
    "last": (TEXT[:HALF] + ("A" if TEXT[HALF] != "A" else "B"), ROW),
    "first": (TEXT[:19] + ("A" if TEXT[19] != "A" else "B") + TEXT[20:], ROW),
    "all": (TEXT[:19] + "A" * (len(TEXT) - 19), ROW),
    "unknown": (OTHER, None),
    "revoked": (TEXT, replace(ROW, revoked_at=ROW.at)),
}
"""Keys that are refused: how much is right, and the row that is found."""


@pytest.mark.parametrize("name", WRONG)
def test_each_refusal_compares_two_hashes_of_the_whole_key_once_and_in_constant_time(monkeypatch, name):
    """So no time can tell more than the length: the hash of a key that is nearly right is altogether different."""
    compared = []

    def note(left, right):
        compared.append((left, right))
        return hmac.compare_digest(left, right)

    monkeypatch.setattr(_keys, "hmac", SimpleNamespace(compare_digest=note))
    text, row = WRONG[name]
    assert not is_key(text, row)
    ((left, right),) = compared
    assert left == hash_key(text)
    assert len(left) == len(right) == 64


@pytest.mark.slow
@pytest.mark.parametrize("name", ["first", "all", "unknown"])
def test_no_time_tells_one_refusal_from_another(name):
    """A permutation test on rounds that take turns, in an order that is drawn: the sign of each difference.

    A machine that is busy slows both alike. What could be used over a network would be a difference in every
    round; one below 2 % of the time is none.
    """
    chance = random.Random(0)
    pairs = []
    for _ in range(2000):
        took = {}
        for which in chance.sample(["last", name], 2):
            text, row = WRONG[which]
            started = time.perf_counter_ns()
            for _ in range(50):
                is_key(text, row)
            took[which] = time.perf_counter_ns() - started
        pairs.append((took["last"], took[name]))
    differences = [last - other for last, other in pairs]
    typical = statistics.median(last for last, _ in pairs)
    more = sum(one > 0 for one in differences)
    z = abs(more - len(pairs) / 2) / (len(pairs) / 4) ** 0.5
    assert z < 5 or abs(statistics.median(differences)) < 0.02 * typical


def test_keys_that_are_old_when_they_are_read_are_trusted_for_the_rest_of_their_time(clock):
    from demur.serve._known_keys import OldKeys

    keyring = Keyring(lambda: OldKeys([ROW], 80.0), KeysConfig(refresh_s=5, stale_s=100), clock)
    assert asyncio.run(keyring.find(TEXT)) == ROW
    assert keyring.is_trusted
    clock.now += 24
    assert keyring.is_trusted
    clock.now += 2
    assert not keyring.is_trusted


def test_a_store_that_says_nothing_keeps_nobody_waiting_whose_key_is_known(clock):
    keys, is_over = Keys(ROW), threading.Event()

    def read():
        found = keys()
        if len(found) and keys.reads > 1:
            assert is_over.wait(120)
        return found

    async def ask_all():
        gate = Gate(Keyring(read, KeysConfig(refresh_s=5), clock, patience_s=0.05), is_required=True)
        access = needs("classify")["x-demur-access"]
        await gate.admit({"authorization": f"Bearer {TEXT}"}, access)
        clock.now += 6
        try:
            for _ in range(5):
                assert (await gate.admit({"authorization": f"Bearer {TEXT}"}, access)).key_id == ROW.id
                clock.now += 2
            with pytest.raises(ApiError, match="not known"):
                await gate.admit({"authorization": f"Bearer {OTHER}"}, access)
        finally:
            is_over.set()

    asyncio.run(ask_all())
    assert keys.reads == 2


def test_what_a_driver_raises_is_an_answer_that_keys_cannot_be_checked(clock, caplog):
    def read():
        raise ValueError("whatever a driver says")

    gate = Gate(Keyring(read, KeysConfig(), clock), is_required=True)
    with pytest.raises(ApiError, match="keys cannot be checked now"):
        admit(gate, f"Bearer {TEXT}")
    assert "whatever a driver says" not in caplog.text
