"""What every page is made with: the template engine with its words, and pictures that lie inside the page."""

from __future__ import annotations

import base64
import re
from pathlib import Path
from typing import Any, Protocol

from demur.errors import require
from demur.report import _words as words

_SCALE = 0.738
"""Pixels of the page for one of a picture: the widest then fill the column, and all letters are of one size."""


class Drawn(Protocol):
    """A picture with its words, whatever it is of."""

    @property
    def path(self) -> Path: ...
    @property
    def title(self) -> str: ...
    @property
    def caption(self) -> str: ...
    @property
    def alt(self) -> str: ...


def page_environment(package: str | None = None) -> Any:
    """The template engine: everything is escaped, an unknown name is an error, numbers read as in ``_words``.

    Parameters
    ----------
    package
        A package whose ``templates`` are looked in before the report's own.

    Raises
    ------
    MissingDependencyError
        jinja2 is not installed; install ``demur[report]``.
    """
    jinja2 = require("jinja2", extra="report")
    folders = [jinja2.PackageLoader(one, "templates") for one in (package, "demur.report") if one is not None]
    environment = jinja2.Environment(
        loader=jinja2.ChoiceLoader(folders),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "number": words.number,
        "signed": words.signed,
        "interval": words.interval,
        "chance": words.chance,
        "count": words.count,
        "duration": words.duration,
        "metric_name": words.metric_name,
        "protocol_name": words.protocol_name,
        "breakable": breakable,
    }
    return environment


def breakable(name: str) -> Any:
    """A name, escaped, that may be broken across lines after ``_``, ``-``, ``.`` and ``/``."""
    markup = require("markupsafe", extra="report")
    parts = re.split(r"(?<=[_\-./])(?=.)", name)
    return markup.Markup("<wbr>").join(parts)


def inline_picture(picture: Drawn) -> dict[str, Any]:
    """A picture as the page shows it, its bytes in the address.

    Parameters
    ----------
    picture
        A PNG with its words.
    """
    data = picture.path.read_bytes()
    width, height = (int.from_bytes(data[start : start + 4], "big") for start in (16, 20))  # PNG's IHDR chunk
    return {
        "title": picture.title,
        "caption": picture.caption,
        "alt": picture.alt,
        "width": round(width * _SCALE),
        "height": round(height * _SCALE),
        "source": f"data:image/png;base64,{base64.b64encode(data).decode('ascii')}",
    }
