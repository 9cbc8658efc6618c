"""Keys of the API: made, hashed, looked up, compared in constant time, revoked.

A key is ``demur_<id>_<secret>`` with 32 random bytes in the secret, and only its SHA-256 is stored. A slow hash
such as scrypt defends secrets that people choose, which can be guessed; 256 random bits cannot, so it would only
make every request slower. (NIST SP 800-63B, section 5.1.2.2, asks for a slow hash below 112 bits only.)
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from collections.abc import Iterable
from dataclasses import replace

from sqlalchemy import select, update

from demur.errors import UnknownRowError, UsageError, near_match
from demur.store._base import Base
from demur.store._rows import KeyRow, utc_now
from demur.store._tables import KEYS

SCOPES = ("classify", "feedback", "admin")
_FORM = re.compile(r"demur_([0-9a-f]{12})_[A-Za-z0-9_-]{43}", re.ASCII)
_NO_HASH = "0" * 64


def new_key(name: str, scopes: Iterable[str], rate_per_s: float | None = None) -> tuple[str, KeyRow]:
    """Make a key: its text, which is kept nowhere, and the row to store.

    Raises
    ------
    UsageError
        A scope is none of the three, or none is given.
    """
    given = sorted(set(scopes))
    unknown = [one for one in given if one not in SCOPES]
    if unknown or not given:
        wrong = f"'{unknown[0]}' is no scope{near_match(unknown[0], SCOPES)}" if unknown else "a key needs a scope"
        raise UsageError(f"{wrong}; give some of {', '.join(SCOPES)}")
    id = secrets.token_hex(6)
    text = f"demur_{id}_{secrets.token_urlsafe(32)}"
    return text, KeyRow(id=id, name=name, hash=hash_key(text), scopes=given, rate_per_s=rate_per_s)


def hash_key(text: str) -> str:
    """SHA-256 of a key, in hex."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def key_id(text: str) -> str | None:
    """The id within a key, or None where it has not the form of one."""
    found = _FORM.fullmatch(text)
    return found[1] if found else None


def is_key(text: str, row: KeyRow | None) -> bool:
    """Whether a text is the key of a row that is not revoked; as quick where there is no row."""
    is_same = hmac.compare_digest(hash_key(text), row.hash if row is not None else _NO_HASH)
    return is_same and row is not None and row.revoked_at is None


class Keys(Base):
    """The part of the store that keeps the keys."""

    def add_key(self, row: KeyRow) -> None:
        """Store a key's row."""
        self._add(KEYS, row)

    def keys(self) -> list[KeyRow]:
        """All keys, revoked ones too, in order of time."""
        return self._rows(KeyRow, select(KEYS).order_by(KEYS.c.at, KEYS.c.id))

    def verify_key(self, text: str) -> KeyRow | None:
        """The row of a key that is given as text, or None where it is no key or revoked."""
        id = key_id(text)
        row = None if id is None else self._one(KeyRow, select(KEYS).where(KEYS.c.id == id))
        return row if is_key(text, row) else None

    def revoke_key(self, id: str) -> KeyRow:
        """Let a key open nothing from now on; one that was revoked before keeps its time.

        Raises
        ------
        UnknownRowError
            There is no key of that id.
        StoreUnavailableError
            The database does not answer.
        """
        with self._write() as connection:
            found = connection.execute(select(KEYS).where(KEYS.c.id == id)).mappings().first()
            if found is None:
                raise UnknownRowError(f"there is no key '{id}'; see: demur store keys list")
            row = KeyRow(**found)
            if row.revoked_at is None:
                row = replace(row, revoked_at=utc_now())
                connection.execute(update(KEYS).where(KEYS.c.id == id).values(revoked_at=row.revoked_at))
            return row
