"""Vectors kept from run to run: a file an encoder, in which a text is known by a hash alone.

A slow encoder then reads each text once, however often an experiment is run, and a killed run loses the texts
of one chunk. Whoever holds the file and a text can tell whether it was among them, and vectors give away what
a text is about: such a file is as private as the texts.
"""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from demur.errors import StorageError, UsageError
from demur.paths import cache_folder

Vectors = NDArray[np.float32]
CHUNK = 512
"""Texts worked out and written at a time."""
_ASKED = 500
"""Keys of one query."""
_WAIT_S = 60.0


class VectorFile:
    """Vectors by text in one SQLite file; other processes may use it at the same time.

    Parameters
    ----------
    folder
        Where the file lies; ``user`` is the user's cache folder.
    encoder
        Hash of the encoder, which the file is named after.
    kind
        What else the vectors depend on: pooling, lengths.
    """

    def __init__(self, folder: str, encoder: str, kind: str) -> None:
        root = cache_folder() / "vectors" if folder == "user" else Path(folder).expanduser()
        self.path = root / f"{encoder[:32]}.sqlite"
        self._kind = kind

    def rows(self, texts: Sequence[str], compute: Callable[[Sequence[str]], Vectors]) -> Vectors:
        """One vector a text, ``(n, d)``; ``compute`` is asked for those not in the file, long ones first.

        Raises
        ------
        StorageError
            The disk is full or not writable.
        UsageError
            The file is no file of vectors.
        """
        keys = [self._key(text) for text in texts]
        known = self._read(keys)
        missing = [number for number, key in enumerate(keys) if key not in known]
        missing.sort(key=lambda number: -len(texts[number]))
        for start in range(0, len(missing), CHUNK):
            chunk = missing[start : start + CHUNK]
            fresh = compute([texts[number] for number in chunk])
            found = {keys[number]: vector for number, vector in zip(chunk, fresh, strict=True)}
            self._write(found)
            known |= found
        return np.stack([known[key] for key in keys]) if keys else compute([])

    def _key(self, text: str) -> bytes:
        return hashlib.sha256(f"{self._kind}\0{text}".encode("utf-8", "surrogatepass")).digest()

    def _read(self, keys: list[bytes]) -> dict[bytes, Vectors]:
        found: dict[bytes, Vectors] = {}
        with self._open() as base:
            for start in range(0, len(keys), _ASKED):
                asked = keys[start : start + _ASKED]
                marks = ",".join("?" * len(asked))
                rows = base.execute(f"SELECT key, vector FROM vectors WHERE key IN ({marks})", asked)
                found |= {key: np.frombuffer(vector, dtype="<f4") for key, vector in rows}
        return found

    def _write(self, vectors: dict[bytes, Vectors]) -> None:
        rows = [(key, vector.astype("<f4").tobytes()) for key, vector in vectors.items()]
        with self._open() as base:
            base.executemany("INSERT OR IGNORE INTO vectors VALUES (?, ?)", rows)

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with closing(sqlite3.connect(self.path, timeout=_WAIT_S)) as base, base:
                base.execute("CREATE TABLE IF NOT EXISTS vectors (key BLOB PRIMARY KEY, vector BLOB NOT NULL)")
                yield base
        except sqlite3.OperationalError as error:
            raise StorageError(
                f"the vectors in {self.path} cannot be read or written ({error}); free some space, or give "
                "another folder in cache"
            ) from error
        except sqlite3.DatabaseError as error:
            raise UsageError(
                f"{self.path} is no file of vectors ({error}); delete it, or set cache: null"
            ) from error
        except OSError as error:
            raise StorageError(
                f"the folder {self.path.parent} cannot be made ({error.strerror}); give another one in cache"
            ) from error
