"""What the server signs and hashes with: ids of answers that nobody can make up, texts as keyed hashes.

Whether an id was ever given out can be told without asking the database, which may be down or behind.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import re
import secrets
import time
from collections.abc import Sequence
from pathlib import Path

from demur.errors import StorageError, UsageError, translate_os_error

REQUEST_ID = r"[A-Za-z0-9._:-]{1,64}"
ANSWER_ID = rf"^(?:{REQUEST_ID}~)?[0-9a-f]{{44}}$"
_REQUEST_ID, _ANSWER_ID = re.compile(REQUEST_ID), re.compile(ANSWER_ID)
_TAG = 12
"""Hexadecimal digits of a signature: one guess in 2**48 is right."""
_SHORTEST = 16
_FILE = "secret.key"


class Identity:
    """Signs ids and hashes texts with a secret of the server.

    Parameters
    ----------
    accepted
        Secrets whose signatures hold, the one to sign with first: more than one while they are exchanged.

    Raises
    ------
    UsageError
        A secret is shorter than 16 bytes; give a longer one.
    """

    def __init__(self, accepted: Sequence[bytes]) -> None:
        for secret in accepted:
            if len(secret) < _SHORTEST:
                raise UsageError(
                    f"the secret of the server has {len(secret)} bytes; give one of at least {_SHORTEST}, such as "
                    "what `openssl rand -hex 32` prints"
                )
        self._accepted = tuple(accepted)

    def new_answer_id(self, request_id: str | None = None) -> str:
        """A new id: no two are equal, also where callers send the same request id twice.

        Parameters
        ----------
        request_id
            What the caller calls the request, if anything; the id begins with it.
        """
        made = f"{time.time_ns() // 1_000_000:012x}{secrets.token_hex(10)}"
        text = made if request_id is None else f"{request_id}~{made}"
        return text + self._sign("id", text, self._accepted[0])[:_TAG]

    def is_answer_id(self, text: str) -> bool:
        """Whether a server with this secret gave out the id."""
        if not _ANSWER_ID.fullmatch(text):
            return False
        told, tag = text[:-_TAG], text[-_TAG:]
        return any(hmac.compare_digest(self._sign("id", told, one)[:_TAG], tag) for one in self._accepted)

    def hash_text(self, text: str) -> str:
        """A keyed hash: equal for equal texts, and of no use to who has not the secret."""
        return self._sign("text", text, self._accepted[0])[:32]

    def hash_subject(self, subject: str) -> str:
        """A keyed hash of a caller's sticky key."""
        return self._sign("subject", subject, self._accepted[0])[:32]

    def seal(self, purpose: str, text: str) -> str:
        """A text with a signature that holds for one purpose: ``TEXT.SIGNATURE``."""
        return f"{text}.{self._sign(purpose, text, self._accepted[0])}"

    def unseal(self, purpose: str, sealed: str) -> str | None:
        """The text that a server with this secret sealed for the purpose, or None."""
        text, _, tag = sealed.rpartition(".")
        signatures = [self._sign(purpose, text, one) for one in self._accepted] if sealed.isascii() else []
        return text if any(hmac.compare_digest(one, tag) for one in signatures) else None

    def _sign(self, purpose: str, text: str, secret: bytes) -> str:
        return hmac.new(secret, f"{purpose}\0{text}".encode(), hashlib.sha256).hexdigest()


def is_request_id(text: str) -> bool:
    """Whether a caller's request id is taken: letters, digits, ``.``, ``_``, ``:``, ``-``, at most 64."""
    return bool(_REQUEST_ID.fullmatch(text))


def keep_secret(folder: Path) -> bytes:
    """The secret kept in a folder, made when there is none; only the owner may read it.

    Raises
    ------
    StorageError
        It cannot be written or read; check the folder's permissions.
    """
    path = folder / _FILE
    try:
        folder.mkdir(parents=True, exist_ok=True)
        part = folder / f".{_FILE}.{os.getpid()}.{secrets.token_hex(4)}"
        handle = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "w") as file:
            file.write(secrets.token_hex(32))
        try:
            os.link(part, path)  # fails where another process was first: then theirs holds
        except FileExistsError:
            pass
        finally:
            part.unlink()
        found = path.read_text(encoding="ascii").strip().encode()
    except (OSError, ValueError) as error:
        raise translate_os_error(error, f"keeping the secret of the server in {path}") from error
    if len(found) < _SHORTEST:
        raise StorageError(f"{path} is damaged; remove it (earlier ids are then unknown to the server)")
    return found
