"""Secrets of the guard: looked up by name where they are kept, cached, rotated, and never printed."""

from typing import TYPE_CHECKING

from demur._lazy import attach

if TYPE_CHECKING:
    from demur.serve.secrets._redact import Redactor as Redactor
    from demur.serve.secrets._redact import RedactSecrets as RedactSecrets
    from demur.serve.secrets._resolve import Secrets as Secrets
    from demur.serve.secrets._source import SECRETS as SECRETS
    from demur.serve.secrets._source import SecretSettings as SecretSettings
    from demur.serve.secrets._source import SecretSource as SecretSource
    from demur.serve.secrets._source import Stage as Stage
    from demur.serve.secrets._source import open_sources as open_sources
    from demur.serve.secrets._text import SecretText as SecretText

__getattr__, __dir__, __all__ = attach(
    __name__,
    {
        "SECRETS": "_source",
        "RedactSecrets": "_redact",
        "Redactor": "_redact",
        "SecretSettings": "_source",
        "SecretSource": "_source",
        "SecretText": "_text",
        "Secrets": "_resolve",
        "Stage": "_source",
        "open_sources": "_source",
    },
)
