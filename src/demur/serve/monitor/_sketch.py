"""Sketches of texts: 64 numbers of words and characters, fixed for ever, without a model and without the text.

When this is done, and what of it is kept, is left to the sampler.
"""

from __future__ import annotations

import base64
import re
import zlib
from typing import Final

import numpy as np
from numpy.typing import NDArray

from demur.errors import DataError

DIMENSION: Final = 64
SKETCH: Final = "ngrams-1"
"""Name of this way to sketch; another way gets another name, since the two cannot be compared."""
MAX_CHARS: Final = 4000
_WORD = re.compile(r"\w+")
_SALTS = {"chars": 0x9E3779B97F4A7C15, "words": 0xC2B2AE3D27D4EB4F, "pairs": 0x165667B19E3779F9}
_SCALE = 127 / 0.6
"""A coordinate of a vector of length 1 in 64 dimensions is 0.125 on average; beyond 0.6 it is cut."""

Sketch = NDArray[np.float64]
"""Length 1, or zeros of a text without characters, ``(64,)``."""


def sketch_text(text: str) -> Sketch:
    """64 numbers that are near for texts with the same words and character triples.

    Each distinct triple of characters, word and pair of words votes +1 or -1 on every number, by the bits of a
    hash of it, with the weight 1 + ln(count): a random projection of the counts to 64 dimensions, which keeps
    angles to within about 0.12. Nothing is learned, so sketches of any time and machine can be compared. Only the
    first 4,000 characters are read.

    Parameters
    ----------
    text
        Any text.

    References
    ----------
    Charikar, Similarity estimation techniques from rounding algorithms, STOC 2002, section 3 (votes by hash bits);
    Achlioptas, Database-friendly random projections, J. Comput. Syst. Sci. 66, 2003, theorem 1.1.
    """
    clean = " ".join(text[:MAX_CHARS].lower().split())
    hashes = np.concatenate([_hash_characters(clean), *_hash_words(clean)])
    if not len(hashes):
        return np.zeros(DIMENSION)
    distinct, counts = np.unique(hashes, return_counts=True)
    bits = np.unpackbits(distinct.view(np.uint8).reshape(-1, 8), axis=1)  # (n, 64)
    votes = (1 + np.log(counts)) @ (2.0 * bits - 1)
    length = float(np.linalg.norm(votes))
    return np.asarray(votes / length if length > 0 else votes)


def pack_sketch(sketch: Sketch) -> str:
    """A sketch as 88 characters, at one byte a number."""
    small = np.clip(np.rint(sketch * _SCALE), -127, 127).astype(np.int8)
    return base64.b64encode(small.tobytes()).decode("ascii")


def unpack_sketch(packed: str) -> Sketch:
    """The sketch back, to within 0.0024 a number.

    Raises
    ------
    DataError
        It is no packed sketch.
    """
    try:
        found = np.frombuffer(base64.b64decode(packed, validate=True), dtype=np.int8)
    except ValueError:
        found = np.empty(0, dtype=np.int8)
    if len(found) != DIMENSION:
        raise DataError(
            "a stored sketch is damaged; delete the input samples of that time, or take a new reference"
        )
    return found / _SCALE


def _hash_characters(text: str) -> NDArray[np.uint64]:
    """One hash for each triple of characters."""
    codes = np.frombuffer(text.encode("utf-32-le", "replace"), dtype=np.uint32).astype(np.uint64)
    if len(codes) < 3:
        return np.empty(0, dtype=np.uint64)
    shift = np.uint64(21)  # code points have 21 bits
    return _mix((codes[:-2] << shift | codes[1:-1]) << shift ^ codes[2:], "chars")


def _hash_words(text: str) -> tuple[NDArray[np.uint64], NDArray[np.uint64]]:
    """Hashes of words, and of pairs of neighbours."""
    words = [zlib.crc32(word.encode("utf-8", "replace")) for word in _WORD.findall(text)]
    codes = np.array(words, dtype=np.uint64)
    return _mix(codes, "words"), _mix(codes[:-1] << np.uint64(32) | codes[1:], "pairs")


def _mix(values: NDArray[np.uint64], kind: str) -> NDArray[np.uint64]:
    """Spread values over all 64 bits, for each kind of feature in another way: splitmix64 (Steele et al. 2014)."""
    found = values + np.uint64(_SALTS[kind])
    found = (found ^ (found >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    found = (found ^ (found >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return np.asarray(found ^ (found >> np.uint64(31)), dtype=np.uint64)
