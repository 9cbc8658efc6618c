"""Which arm a subject is in: the same one always, by a keyed hash, in proportion to the weights.

Weighted rendezvous hashing: each arm draws an exponential time for the subject, at a rate of its weight, and the
first one has it. When weights change, subjects move only into arms whose weight rose or out of arms whose weight
fell: two arms with unchanged weights exchange nobody, an arm that is raised alone takes from the others and gives
nobody away, and with two arms no more move than must.
"""

from __future__ import annotations

import hashlib
import math
import random
from collections.abc import Mapping


def hash_unit(salt: str, experiment: str, arm: str, subject: str) -> float:
    """A number above 0 and below 1 for an arm and a subject; whoever has not the salt cannot foresee it.

    Parameters
    ----------
    salt
        Key of the hash, at most 64 bytes.
    """
    key = hashlib.blake2b(salt.encode("utf-8", "surrogatepass"), digest_size=32).digest()
    text = "\0".join((experiment, arm, subject)).encode("utf-8", "surrogatepass")
    number = int.from_bytes(hashlib.blake2b(text, key=key, digest_size=8).digest(), "big") >> 11  # 53 bits
    return (number + 0.5) / 2**53


def assign_arm(weights: Mapping[str, float], subject: str, experiment: str, salt: str) -> str:
    """The arm of a subject.

    Parameters
    ----------
    weights
        Arm to weight, above 0; only their ratios matter, and their order does not.

    References
    ----------
    Schindelhauer and Schomaker, Weighted distributed hash tables, SPAA 2005, section 3, the logarithmic method;
    Thaler and Ravishankar, Using name-based mappings to increase hit rates, IEEE/ACM Trans. Netw. 6(1), 1998.
    """
    times = {arm: -math.log(hash_unit(salt, experiment, arm, subject)) / weight for arm, weight in weights.items()}
    return min(times, key=lambda arm: (times[arm], arm))


def draw_arm(weights: Mapping[str, float]) -> str:
    """An arm for a request that names no subject; each such request is its own."""
    return random.choices(list(weights), list(weights.values()))[0]
