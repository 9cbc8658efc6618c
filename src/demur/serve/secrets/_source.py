"""What a source of secrets is, the registry of them, and the settings that put some in an order."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal, Protocol, runtime_checkable

from pydantic import Field, field_validator

from demur.config import Settings, parse_settings
from demur.registry import Registry

Stage = Literal["current", "previous"]
"""The value in force, or the one before it, which is still accepted while a rotation goes on."""
PREVIOUS = "_PREVIOUS"
"""What a source without versions appends to a name to find the value before."""


@runtime_checkable
class SecretSource(Protocol):
    """A place where secrets are kept; made from its settings: ``source_type(settings)``.

    It keeps nothing: ``Secrets`` caches.
    """

    config_type: ClassVar[type[Settings]]
    """Its settings, each with a default."""

    def get(self, name: str, stage: Stage = "current") -> str | None:
        """The secret of that name, or None where it is not here.

        Raises
        ------
        SecretUnavailableError
            Whether it is here cannot be told now, such as when a service does not answer; says what to do.
        """
        ...

    def where(self) -> str:
        """Where it looked, in a few words, for the sentence that says a secret is nowhere."""
        ...


SECRETS: Registry[type[SecretSource]] = Registry("secret")
"""The sources by name; the entry-point group is ``demur.secrets``."""
_ORDER: Mapping[str, dict[str, Any]] = {"environment": {}, "dotenv": {}, "files": {}, "aws": {}}


class SecretSettings(Settings):
    """Where secrets are looked up, and for how long one is kept."""

    sources: dict[str, dict[str, Any]] = Field(
        default=dict(_ORDER),
        min_length=1,
        description="Source to its settings, asked in this order; a list of names does where none has settings.",
    )
    ttl_s: float = Field(
        default=300, ge=0, le=86_400, description="Seconds after which a secret is looked up again."
    )
    retry_s: float = Field(
        default=30, ge=0, le=3600, description="Seconds the last value is kept when looking it up again fails."
    )

    @field_validator("sources", mode="before")
    @classmethod
    def _names_alone(cls, value: Any) -> Any:
        if isinstance(value, list | tuple) and all(isinstance(name, str) for name in value):
            return {name: {} for name in value}
        if isinstance(value, dict):
            return {name: {} if settings is None else settings for name, settings in value.items()}
        return value


def open_sources(settings: SecretSettings) -> dict[str, SecretSource]:
    """The sources of the settings by name, in their order.

    Raises
    ------
    RegistryError
        No source has that name.
    ConfigError
        A setting of a source is unknown or off.
    """
    opened: dict[str, SecretSource] = {}
    for name, values in settings.sources.items():
        kind: Any = SECRETS.get(name)
        opened[name] = kind(parse_settings(kind.config_type, values, f"secrets.sources.{name}"))
    return opened
