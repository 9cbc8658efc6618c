"""A text of the configuration that is secret, or names secrets as ``${secret:NAME}``; it prints as stars.

The configuration keeps the reference, never what stands behind it, so that whatever prints or saves a
configuration has nothing to give away. Looking the references up is left to ``_resolve``.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from demur.errors import UsageError

if TYPE_CHECKING:
    from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
    from pydantic_core import CoreSchema

MASK = "**********"
_REFERENCE = re.compile(r"\$\{secret:([^{}\s]+)\}")
_OPENED = re.compile(r"\$\{secret\b[^}]*\}?")
_CREDENTIALS = re.compile(r"^[A-Za-z][\w+.-]*://([^/?#]*)@")
"""What stands before the host of a URL; a reference in it is percent-encoded."""
_NOTHING_SECRET = "sqlite:///"


class SecretText:
    """A secret, or a text with ``${secret:NAME}`` and ``${secret:NAME#key}`` in it (a key of a JSON secret).

    Use it as the type of a field: ``url: SecretText = SecretText("sqlite:///demur.db")``. ``Secrets.reveal``
    gives the text with every reference looked up.

    Parameters
    ----------
    template
        The text as it stands in the configuration.

    Raises
    ------
    UsageError
        It is empty, a mask, or opens a reference that is none; write it as ``${secret:NAME}``.
    """

    __slots__ = ("_template",)

    def __init__(self, template: str) -> None:
        if not template.strip():
            raise UsageError("the secret is empty; give it, or name it as ${secret:NAME}")
        if not template.strip("*"):
            raise UsageError("this is the mask of a secret, not the secret; give it, or name it as ${secret:NAME}")
        for opened in _OPENED.finditer(template):
            if not _REFERENCE.fullmatch(opened[0]):
                raise UsageError("a reference to a secret is not complete; write it as ${secret:NAME}")
        self._template = template

    @property
    def names(self) -> tuple[str, ...]:
        """The secrets it names, with their ``#key``; none where the text itself is the secret."""
        return tuple(dict.fromkeys(_REFERENCE.findall(self._template)))

    def fill(self, find: Callable[[str], str]) -> str:
        """The text with what ``find`` gives for each name.

        In the credentials of a URL, as in ``postgresql://demur:${secret:PASSWORD}@host/demur``, it is
        percent-encoded, so that a password may hold any character.
        """
        # A name may hold the very characters that end the credentials.
        credentials = _CREDENTIALS.match(_REFERENCE.sub(lambda one: "x" * len(one[0]), self._template))
        end = credentials.end() if credentials else 0

        def put(match: re.Match[str]) -> str:
            found = find(match[1])
            return quote(found, safe="") if match.end() < end else found

        return _REFERENCE.sub(put, self._template)

    def __str__(self) -> str:
        """The reference where it is nothing else, and a SQLite file, which holds no secret; else stars."""
        if _REFERENCE.fullmatch(self._template) or self._template.startswith(_NOTHING_SECRET):
            return self._template
        return MASK

    def __repr__(self) -> str:
        return f"SecretText('{self}')"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, SecretText) and self._template == other._template

    def __hash__(self) -> int:
        return hash(self._template)

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        from pydantic_core import core_schema

        return core_schema.no_info_plain_validator_function(
            _check,
            serialization=core_schema.plain_serializer_function_ser_schema(str, when_used="json"),
        )

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        return {"type": "string", "format": "password", "writeOnly": True, "minLength": 1}


def _check(value: Any) -> SecretText:
    """A value of a configuration as a secret; what is said of a wrong one never holds it."""
    if isinstance(value, SecretText):
        return value
    if not isinstance(value, str):
        raise UsageError(
            f"a secret must be a text, not a {type(value).__name__}; quote it, or use ${{secret:NAME}}"
        )
    return SecretText(value)
