"""Alerts: to the log at once, and to a webhook from a thread of its own, signed, tried again, over restarts too.

An alert is kept in the store until it is delivered or given up; it holds names, numbers and ids, never a text.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import logging
import random
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from demur.errors import ConfigError, require
from demur.serve.monitor._config import AlertConfig

if TYPE_CHECKING:
    from demur.serve.secrets import SecretText
    from demur.store import Store

_LOG = logging.getLogger("demur.serve.alerts")
_PREFIX = "alert/"
_LONGEST_WAIT_S = 3600.0
_POLL_S = 1.0
_AT_ONCE = datetime.min.replace(tzinfo=UTC).isoformat()
_REMEMBER = timedelta(days=7)
"""How long a delivered alert is known, so that one told again after a crash is not sent again."""


@dataclass(frozen=True, kw_only=True)
class Alert:
    """Something that somebody should know."""

    id: str
    """The same for the same event, so that it is told once."""
    kind: str
    """``drift``, ``operation``, ``escalation``, ``retrain``, or another's own word."""
    task: str
    message: str
    """One sentence; no text of a user."""
    facts: dict[str, Any] = field(default_factory=dict)
    at: datetime = field(default_factory=lambda: datetime.now(UTC))

    def to_json(self) -> dict[str, Any]:
        """As the webhook is sent it."""
        return asdict(self) | {"at": self.at.isoformat()}


class Alerter:
    """Tells alerts; ``send`` never waits for the receiver.

    Parameters
    ----------
    store
        Keeps what is not delivered yet.
    config
        Where to and how often.
    reveal
        Looks a secret up; the text itself where absent.

    Raises
    ------
    ConfigError
        The webhook is no http address.
    """

    def __init__(
        self, store: Store, config: AlertConfig | None = None, reveal: Callable[[SecretText], str] | None = None
    ) -> None:
        self._store, self.config = store, config or AlertConfig()
        self._reveal = reveal or (lambda text: text.fill(_refuse_reference))
        self._wake, self._lock = threading.Event(), threading.Lock()
        self._thread: threading.Thread | None = None
        self._is_paused = self._is_closed = False
        self.given_up = 0
        if self.config.webhook is not None:
            require("httpx", extra="serve")
            self._address()

    def send(self, alert: Alert) -> None:
        """Tell an alert: one line in the log now, the webhook soon.

        Raises
        ------
        StoreUnavailableError
            It could not be kept; tell it again.
        """
        if self.config.webhook is not None and not self._keep(alert):
            return
        _LOG.warning("%s: %s", alert.kind, alert.message, extra={"alert": alert.to_json()})
        self.resume()

    def resume(self) -> None:
        """Deliver what waits, also from before a restart."""
        if self.config.webhook is None or self._is_closed:
            return
        self._is_paused = False
        with self._lock:
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="alerts", daemon=True)
                self._thread.start()
        self._wake.set()

    def pause(self) -> None:
        """Deliver no more until :meth:`resume`: another process does."""
        self._is_paused = True

    def close(self, timeout_s: float = 0.0) -> None:
        """End; what is not delivered waits in the store."""
        self._is_closed = True
        self._wake.set()
        if self._thread is not None and timeout_s > 0:
            self._thread.join(timeout_s)

    def waiting(self) -> list[dict[str, Any]]:
        """Alerts not delivered yet, the oldest first."""
        return _pending(self._store.monitor_states(_PREFIX))

    def deliver_due(self, now: datetime) -> int:
        """Try every alert whose time has come, once; the number delivered."""
        delivered = 0
        for kept in self.waiting():
            if self._is_closed or self._is_paused:
                break
            if datetime.fromisoformat(kept["next_at"]) > now:
                continue
            problem = self._post(kept["alert"])
            self._note(kept, problem, now)
            delivered += problem is None
        return delivered

    def _keep(self, alert: Alert) -> bool:
        """Whether the alert is new."""
        kept = {"alert": alert.to_json(), "attempts": 0, "next_at": _AT_ONCE, "ended": None}
        is_new = False

        def change(was: dict[str, Any] | None) -> dict[str, Any]:
            nonlocal is_new
            is_new = was is None
            return was or kept

        self._store.change_monitor_state(f"{_PREFIX}{alert.id}", change)
        if is_new:
            self._tidy(alert.at)
        return is_new

    def _tidy(self, now: datetime) -> None:
        """Forget what ended long ago, and the oldest of what waits where it is too much."""
        kept = self._store.monitor_states(_PREFIX)
        gone = [
            name
            for name, one in kept.items()
            if one["ended"] is not None and datetime.fromisoformat(one["alert"]["at"]) < now - _REMEMBER
        ]
        surplus = _pending(kept)[: -self.config.max_waiting]
        if surplus:
            self.given_up += len(surplus)
            _LOG.warning("%d alerts were given up: more wait than alerts.max_waiting", len(surplus))
        for name in [*gone, *(f"{_PREFIX}{one['alert']['id']}" for one in surplus)]:
            self._store.change_monitor_state(name, lambda was: None)

    def _note(self, kept: dict[str, Any], problem: str | None, now: datetime) -> None:
        attempts = kept["attempts"] + 1
        ended = "delivered" if problem is None else "given up" if attempts >= self.config.attempts else None
        wait_s = min(_LONGEST_WAIT_S, self.config.first_wait_s * 2 ** (attempts - 1)) * random.uniform(0.8, 1.2)
        next_at = (now + timedelta(seconds=wait_s)).isoformat()
        changed = kept | {"attempts": attempts, "next_at": next_at, "ended": ended, "problem": problem}
        # One that was given up meanwhile, as too many wait, stays away.
        self._store.change_monitor_state(f"{_PREFIX}{kept['alert']['id']}", lambda was: was and changed)
        if ended == "given up":
            self.given_up += 1
            _LOG.warning("alert %s was given up after %d attempts (%s)", kept["alert"]["id"], attempts, problem)

    def _post(self, alert: dict[str, Any]) -> str | None:
        """Send one alert; what went wrong, or None."""
        import httpx

        body = json.dumps(alert, sort_keys=True, allow_nan=False).encode()
        headers = {"content-type": "application/json", "x-demur-alert": alert["id"]}
        try:
            if self.config.secret is not None:
                headers |= sign_body(self._reveal(self.config.secret), body, time.time())
            answer = httpx.post(
                self._address(),
                content=body,
                headers=headers,
                timeout=self.config.timeout_s,
                follow_redirects=False,
            )
        except Exception as error:  # of whatever kind it fails; an address may be secret, so without its message
            return type(error).__name__
        return None if answer.is_success else f"status {answer.status_code}"

    def _address(self) -> str:
        assert self.config.webhook is not None
        address = self._reveal(self.config.webhook)
        if not address.startswith(("http://", "https://")):
            raise ConfigError("alerts.webhook is no http or https address; give one", key="alerts.webhook")
        return address

    def _run(self) -> None:
        while not self._is_closed:
            self._wake.clear()
            is_waiting = True
            if not self._is_paused:
                try:
                    self.deliver_due(datetime.now(UTC))
                    is_waiting = bool(self.waiting())
                except Exception as error:  # such as a database that is down: the thread lives on
                    _LOG.debug("alerts wait (%s)", type(error).__name__)
            self._wake.wait(_POLL_S if is_waiting else None)


def sign_body(secret: str, body: bytes, at_s: float) -> dict[str, str]:
    """Headers that prove who sent a body and when: HMAC-SHA256 of ``TIMESTAMP.BODY``."""
    stamp = str(int(at_s))
    found = hmac.new(secret.encode(), stamp.encode() + b"." + body, hashlib.sha256).hexdigest()
    return {"x-demur-timestamp": stamp, "x-demur-signature": f"sha256={found}"}


def is_signed(secret: str, body: bytes, timestamp: str, signature: str, tolerance_s: float = 300.0) -> bool:
    """Whether a delivery is genuine and recent, for whoever receives it.

    Parameters
    ----------
    secret
        As in ``alerts.secret``.
    body
        The bytes as they came.
    timestamp, signature
        The headers ``x-demur-timestamp`` and ``x-demur-signature``.
    tolerance_s
        Most seconds between the clocks.
    """
    if not timestamp.isdecimal() or abs(time.time() - int(timestamp)) > tolerance_s:
        return False
    wanted = sign_body(secret, body, int(timestamp))["x-demur-signature"]
    return hmac.compare_digest(wanted.encode(), signature.encode())


def _pending(kept: dict[str, dict[str, Any]]) -> list[dict[str, Any]]:
    return sorted((one for one in kept.values() if one["ended"] is None), key=lambda one: str(one["alert"]["at"]))


def _refuse_reference(name: str) -> str:
    raise ConfigError(f"the secret '{name}' cannot be looked up here; pass reveal", key="alerts")
