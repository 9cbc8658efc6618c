"""Secrets by name: looked up, kept for a while, looked up again; a source that is down stops nobody."""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from demur.errors import SecretError, SecretUnavailableError, near_match
from demur.serve.secrets._redact import Redactor
from demur.serve.secrets._source import SecretSettings, SecretSource, Stage, open_sources
from demur.serve.secrets._text import SecretText

_LOG = logging.getLogger(__name__)
_OPEN_KEYS = {"dbname", "engine", "host", "port", "username"}
"""Keys of the secrets that AWS makes for its databases which a log may show."""


@dataclass(frozen=True, repr=False)
class _Entry:
    """What was found, where, and until when (on the clock) it is good."""

    value: str | None
    source: str
    until: float


class Secrets:
    """Looks up what a ``SecretText`` names; safe with threads, and one for a process is enough.

    A value is kept for ``ttl_s`` seconds. One that cannot be looked up again then, or is gone, stays in use
    and is tried again after ``retry_s``: a guard does not fall over because a vault does.

    Parameters
    ----------
    settings
        Where to look; by default the environment, ``.env``, mounted files, AWS.
    sources
        Used in place of those of the settings.
    clock
        Seconds that only ever grow.
    """

    def __init__(
        self,
        settings: SecretSettings | None = None,
        sources: Mapping[str, SecretSource] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.settings = settings or SecretSettings()
        self.redactor = Redactor()
        self._sources = open_sources(self.settings) if sources is None else dict(sources)
        self._clock = clock
        self._entries: dict[tuple[str, Stage], _Entry] = {}
        self._asking = threading.Lock()

    def reveal(self, text: SecretText) -> str:
        """The text with every secret that it names looked up. Use it at once; do not keep, print or log it.

        Raises
        ------
        SecretError
            A secret is nowhere, or lacks the key asked for; set it where the message says.
        SecretUnavailableError
            A source does not answer, and nothing was looked up before.
        """
        found = text.fill(self._current)
        if not text.names and str(text) != found:
            self.redactor.learn(found)
        return found

    def accepted(self, text: SecretText) -> tuple[str, ...]:
        """What a signature may be checked with: the value in force first, then the one before it, if any.

        Raises
        ------
        SecretError, SecretUnavailableError
            As ``reveal``.
        """
        current = self.reveal(text)
        before = text.fill(lambda reference: self._previous(reference) or self._current(reference))
        return (current,) if before == current else (current, before)

    def source_of(self, text: SecretText) -> dict[str, str]:
        """Each secret that the text names to the source it was found in.

        Raises
        ------
        SecretError, SecretUnavailableError
            As ``reveal``.
        """
        self.reveal(text)
        return {reference: self._entries[(_split(reference)[0], "current")].source for reference in text.names}

    def refresh(self) -> None:
        """Look everything up again when it is next asked for."""
        with self._asking:
            self._entries = {key: replace(entry, until=float("-inf")) for key, entry in self._entries.items()}

    def redact(self, text: str) -> str:
        """The text with stars for every secret that was looked up so far."""
        return self.redactor.redact(text)

    def _current(self, reference: str) -> str:
        name, key = _split(reference)
        found = self._look_up(name, "current")
        assert found is not None
        return self._part(found, name, key)

    def _previous(self, reference: str) -> str | None:
        name, key = _split(reference)
        self._look_up(name, "current")
        found = self._look_up(name, "previous")
        try:
            return None if found is None else self._part(found, name, key)
        except SecretError:  # a key that the value before did not have yet
            return None

    def _part(self, found: str, name: str, key: str | None) -> str:
        value = found if key is None else _pick(found, name, key)
        if key not in _OPEN_KEYS:
            self.redactor.learn(value)
        return value

    def _look_up(self, name: str, stage: Stage) -> str | None:
        kept = self._entries.get((name, stage))
        if kept is not None and (self._clock() < kept.until or not self._asking.acquire(blocking=False)):
            return kept.value  # another thread is asking already; nobody waits for it
        if kept is None:
            self._asking.acquire()
        try:
            kept = self._entries.get((name, stage))
            if kept is None or self._clock() >= kept.until:
                kept = self._ask_again(name, stage, kept)
                self._entries[(name, stage)] = kept
            return kept.value
        finally:
            self._asking.release()

    def _ask_again(self, name: str, stage: Stage, kept: _Entry | None) -> _Entry:
        try:
            value, source = self._ask(name, stage)
        except SecretError as error:
            if kept is None:
                raise
            _LOG.warning("the last value of the secret '%s' stays in use: %s", name, error)
            return replace(kept, until=self._clock() + self.settings.retry_s)
        return _Entry(value, source, self._clock() + self.settings.ttl_s)

    def _ask(self, name: str, stage: Stage) -> tuple[str | None, str]:
        if stage == "previous":  # only where the value in force is from
            source = self._entries[(name, "current")].source
            return self._get(source, name, stage) or None, source
        for source in self._sources:
            value = self._get(source, name, stage)
            if value:
                return value, source
        looked = ", ".join(one.where() for one in self._sources.values())
        raise SecretError(f"the secret '{name}' is nowhere (looked in: {looked}); set it in one of them")

    def _get(self, source: str, name: str, stage: Stage) -> str | None:
        """What a source has; whatever a stranger's source raises becomes one sentence without its words."""
        try:
            return self._sources[source].get(name, stage)
        except SecretError:
            raise
        except Exception as error:
            raise SecretUnavailableError(
                f"the source '{source}' failed while it looked up '{name}' ({type(error).__name__}); "
                "repair it, or take it out of secrets.sources"
            ) from None


def _split(reference: str) -> tuple[str, str | None]:
    """Name and key of ``NAME#key``."""
    name, mark, key = reference.partition("#")
    return name, key if mark else None


def _pick(text: str, name: str, key: str) -> str:
    """The value of a key of a JSON secret."""
    try:
        held: Any = json.loads(text)
    except (ValueError, RecursionError):
        held = None
    if not isinstance(held, dict):
        raise SecretError(f"the secret '{name}' is no JSON object, so it has no key '{key}'; leave out '#{key}'")
    value = held.get(key)
    if isinstance(value, bool) or not isinstance(value, str | int | float) or value == "":
        said = "is not a text" if key in held else f"is not in it{near_match(key, held)}"
        raise SecretError(f"the key '{key}' of the secret '{name}' {said}; correct the reference or the secret")
    return str(value)
