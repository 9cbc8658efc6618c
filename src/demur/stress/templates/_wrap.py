"""Wrappings read from a file and put around a request."""

from __future__ import annotations

import base64
import codecs
from pathlib import Path

import yaml

from demur.config import parse_settings
from demur.errors import ConfigError, near_match
from demur.stress.templates._config import Wrapper, WrapperFile

_OWN = Path(__file__).with_name("wrappers.yaml")


def read_wrappers(file: str | None = None) -> dict[str, Wrapper]:
    """Wrappings by name, in the order of their file.

    Parameters
    ----------
    file
        A YAML file; None: demur's own.

    Raises
    ------
    ConfigError
        It cannot be read, a wrapping has no place for the request, or two have one name.
    """
    path = Path(file).expanduser() if file else _OWN
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError(
            f"the wrappings in {path.name} cannot be read ({type(error).__name__}); give a YAML file with source, "
            "license and wrappers",
            key="file",
        ) from error
    wrappers = parse_settings(WrapperFile, values if isinstance(values, dict) else {}, path.name).wrappers
    for one in wrappers:
        if "{request}" not in one.text:
            raise ConfigError(
                f"the wrapping '{one.name}' has no {{request}} in its text; put it in", key="wrappers"
            )
    found = {one.name: one for one in wrappers}
    if len(found) < len(wrappers):
        raise ConfigError(f"two wrappings in {path.name} have the same name; rename one", key="wrappers")
    return found


def choose_wrappers(names: tuple[str, ...], known: dict[str, Wrapper]) -> list[Wrapper]:
    """The wrappings of those names; all where there is none.

    Raises
    ------
    ConfigError
        There is no wrapping of a name.
    """
    for name in names:
        if name not in known:
            raise ConfigError(
                f"no wrapping is called '{name}' (known: {', '.join(known)}){near_match(name, known)}", key="names"
            )
    return [known[name] for name in names or known]


def wrap(wrapper: Wrapper, request: str) -> str:
    """The request in its wrapping.

    Parameters
    ----------
    wrapper
        The wrapping.
    request
        The text.
    """
    if wrapper.encode == "base64":
        request = base64.b64encode(request.encode()).decode()
    elif wrapper.encode == "rot13":
        request = codecs.encode(request, "rot13")
    return wrapper.text.replace("{request}", request)
