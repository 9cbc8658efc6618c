"""Requests a second of a key, counted once for all workers of a machine: token buckets in a shared file.

Servers on other machines count for themselves. A bucket holds ``rate * burst_s`` tokens, one at least; a request
takes one.
"""

from __future__ import annotations

import fcntl
import hashlib
import ipaddress
import mmap
import os
import struct
import time
from collections.abc import Callable
from pathlib import Path

_SLOT = struct.Struct("<16sdd")
"""Hash of a name, tokens left, and when they were counted, in seconds since the machine started."""
_PROBES = 32
_FREE = b"\0" * 16


def name_address(host: str) -> str:
    """An address as a rate counts it: of IPv6 the network, since who has one address there has 2**64."""
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return host
    if address.version == 4:
        return str(address)
    return str(address.ipv4_mapped or ipaddress.ip_network((address, 64), strict=False))


class SharedBuckets:
    """Token buckets by name, shared by every process that opens the same file.

    Parameters
    ----------
    path
        The file; made where it is not there. It is of no use after the machine has started anew.
    slots
        How many names have a bucket of their own; more than that take over those used longest ago.
    clock
        Seconds that only ever grow and are the same for all processes.
    """

    def __init__(self, path: Path, slots: int = 4096, clock: Callable[[], float] = time.monotonic) -> None:
        self._slots, self._clock = slots, clock
        self._handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        size = slots * _SLOT.size
        if os.fstat(self._handle).st_size < size:
            os.ftruncate(self._handle, size)
        self._table = mmap.mmap(self._handle, size)

    def take(self, name: str, rate_per_s: float, burst_s: float) -> float:
        """Take a token; 0 where there was one, else the seconds until there is."""
        digest = hashlib.blake2b(name.encode(), digest_size=16).digest()
        most = max(1.0, rate_per_s * burst_s)
        fcntl.lockf(self._handle, fcntl.LOCK_EX)  # freed by the system where its holder is killed
        try:
            now = self._clock()
            place, tokens = self._find(digest, now, rate_per_s, most)
            if tokens < 1:
                return (1 - tokens) / rate_per_s
            _SLOT.pack_into(self._table, place, digest, tokens - 1, now)
            return 0.0
        finally:
            fcntl.lockf(self._handle, fcntl.LOCK_UN)

    def close(self) -> None:
        """Close the file."""
        self._table.close()
        os.close(self._handle)

    def _find(self, digest: bytes, now: float, rate_per_s: float, most: float) -> tuple[int, float]:
        """Where a name's bucket is, and the tokens in it by now; a full one where it has none yet."""
        first = int.from_bytes(digest[:8], "little")
        oldest, oldest_at = 0, float("inf")
        for probe in range(min(_PROBES, self._slots)):
            place = (first + probe) % self._slots * _SLOT.size
            name, tokens, at = _SLOT.unpack_from(self._table, place)
            if name == digest:
                return place, min(most, tokens + max(0.0, now - at) * rate_per_s)
            if name == _FREE:
                return place, most
            if at < oldest_at:
                oldest, oldest_at = place, at
        return oldest, most
