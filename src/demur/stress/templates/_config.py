"""Settings of the fixed wrappings."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from demur.config import Settings


class TemplatesConfig(Settings):
    """Which wrappings are tried."""

    names: tuple[str, ...] = Field(default=(), description="Names of wrappings; empty: all of the file.")
    file: str | None = Field(
        default=None, description="YAML file of wrappings in the shape of demur's own; None: those."
    )


class Wrapper(Settings):
    """A wrapping."""

    name: str = Field(min_length=1, description="As in tables.")
    text: str = Field(min_length=1, description="What is asked, with {request} where the request goes.")
    encode: Literal["none", "base64", "rot13"] = Field(
        default="none", description="How the request is written in it."
    )


class WrapperFile(Settings):
    """A file of wrappings."""

    source: str = Field(min_length=1, description="Where they come from.")
    license: str = Field(min_length=1, description="On what terms they may be used.")
    wrappers: tuple[Wrapper, ...] = Field(min_length=1, description="The wrappings.")
