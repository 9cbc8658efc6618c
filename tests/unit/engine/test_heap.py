"""Tests of handing freed memory back."""

import sys

import numpy as np
import psutil
import pytest

from demur.engine import _heap, give_back_heap


@pytest.fixture(autouse=True)
def fresh():
    find = _heap._find_trim
    find.cache_clear()
    yield
    find.cache_clear()


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only glibc keeps and trims")
def test_freed_memory_goes_back_to_the_system():
    process = psutil.Process()
    blocks = [np.ones(12_000) for _ in range(2_000)]  # 96 kB each: from the heap
    kept = blocks[-1]
    del blocks
    held = process.memory_info().rss
    assert give_back_heap()
    assert process.memory_info().rss < held - 50e6
    assert kept[0] == 1


@pytest.mark.parametrize("error", [OSError, AttributeError, TypeError])
def test_another_c_library_is_left_alone(monkeypatch, error):
    def fail(name):
        raise error

    monkeypatch.setattr(_heap.ctypes, "CDLL", fail)
    assert not give_back_heap()


def test_only_every_tenth_step_costs_a_call(monkeypatch):
    calls = []
    monkeypatch.setattr(_heap, "_find_trim", lambda: lambda pad: calls.append(pad) or 1)
    assert [step for step in range(1, 31) if give_back_heap(step)] == [10, 20, 30]
    assert len(calls) == 3
