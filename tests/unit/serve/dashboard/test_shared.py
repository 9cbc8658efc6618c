import asyncio
import threading

import pytest

from demur.errors import StoreUnavailableError
from demur.serve.dashboard import DashboardConfig
from demur.serve.dashboard._shared import SharedSnapshots


class Source:
    """A store that can be slow or away."""

    def __init__(self):
        self.reads, self.error, self.gate = 0, None, threading.Event()
        self.gate.set()

    def __call__(self, span):
        self.reads += 1
        self.gate.wait(60)
        if self.error is not None:
            raise self.error
        return f"{span} {self.reads}"


class Clock:
    now = 1000.0

    def __call__(self):
        return self.now


@pytest.fixture
def source():
    found = Source()
    yield found
    found.gate.set()


def shared(source, clock=None, **config):
    return SharedSnapshots(source, DashboardConfig(**config), clock or Clock())


def test_viewers_share_what_was_read(source):
    async def look():
        kept = shared(source)
        source.gate.clear()
        asking = [asyncio.create_task(kept.get("hour")) for _ in range(20)]
        await asyncio.sleep(0)
        source.gate.set()
        return await asyncio.gather(*asking), await kept.get("hour"), await kept.get("day")

    at_once, again, other = asyncio.run(look())
    assert {*at_once, again} == {("hour 1", None)}
    assert other == ("day 2", None)


def test_it_is_read_anew_after_a_while(source):
    async def look():
        clock = Clock()
        kept = shared(source, clock, keep_s=3)
        found = [await kept.get("hour")]
        for seconds in (2.9, 0.2):
            clock.now += seconds
            found.append(await kept.get("hour"))
        return [one for one, _ in found]

    assert asyncio.run(look()) == ["hour 1", "hour 1", "hour 2"]


def test_what_was_known_is_shown_while_the_store_is_away(source):
    async def look():
        clock = Clock()
        kept = shared(source, clock)
        await kept.get("hour")
        source.error = StoreUnavailableError("the database does not answer")
        clock.now += 60
        found = [await kept.get("hour") for _ in range(5)]
        source.error = None
        clock.now += 60
        return found, await kept.get("hour")

    away, back = asyncio.run(look())
    assert away == [("hour 1", "the database does not answer")] * 5
    assert back == ("hour 3", None)


def test_a_slow_store_is_not_waited_for(source):
    async def look():
        kept = shared(source, wait_s=0.05)
        source.gate.clear()
        first, second = await kept.get("hour"), await kept.get("hour")
        source.gate.set()
        while (found := await kept.get("hour"))[0] is None:
            await asyncio.sleep(0.01)
        return first, second, found

    first, second, found = asyncio.run(look())
    assert first == second
    assert first[0] is None
    assert "has not answered for 0.05 s" in first[1]
    assert found == ("hour 1", None)


def test_an_error_of_a_stranger_is_not_quoted(source):
    source.error = RuntimeError("a text of somebody's")
    found, problem = asyncio.run(shared(source).get("hour"))
    assert found is None
    assert "RuntimeError" in problem
    assert "somebody" not in problem
