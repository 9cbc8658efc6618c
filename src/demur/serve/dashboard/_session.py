"""Log-ins of browsers: a signed cookie that names the key and when it was shown, and nothing of the key itself.

Whether the key still opens the page is asked anew with every request; the server remembers no session.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from demur.serve._identity import Identity
    from demur.serve.dashboard._config import DashboardConfig

PATH = "/dashboard"
PLAIN, SECURE = "demur_session", "__Secure-demur_session"
"""Names of the cookie; browsers take the second over TLS alone."""
_PURPOSE = "dashboard session"
_FORM = re.compile(r"([0-9a-f]{12})\.(\d{1,12})\.(\d{1,12})", re.ASCII)


@dataclass(frozen=True)
class Session:
    """One log-in."""

    key_id: str
    begun_at: int
    """Seconds since 1970, as is the next."""
    seen_at: int


class Sessions:
    """Begins, reads and ends log-ins.

    Parameters
    ----------
    identity
        Signs.
    config
        How long they last.
    clock
        Seconds since 1970.
    """

    def __init__(
        self, identity: Identity, config: DashboardConfig, clock: Callable[[], float] = time.time
    ) -> None:
        self._identity, self._config, self._clock = identity, config, clock

    def begin(self, key_id: str) -> Session:
        """A new log-in."""
        now = int(self._clock())
        return Session(key_id, now, now)

    def read(self, cookies: Mapping[str, str]) -> Session | None:
        """The log-in that a browser's cookies tell of, unless it is over or not ours."""
        for name in (SECURE, PLAIN):
            text = self._identity.unseal(_PURPOSE, cookies.get(name, ""))
            found = _FORM.fullmatch(text) if text else None
            if found is not None:
                session = Session(found[1], int(found[2]), int(found[3]))
                if self._lasts(session):
                    return session
        return None

    def renewed(self, session: Session) -> Session | None:
        """The log-in as one that goes on, or None where it lasts long enough as it is."""
        now = int(self._clock())
        is_due = now - session.seen_at > self._config.session_s / 4
        return replace(session, seen_at=now) if is_due else None

    def give(self, response: Response, session: Session, *, is_secure: bool) -> None:
        """Let a response hand the cookie to its browser."""
        text = f"{session.key_id}.{session.begun_at}.{session.seen_at}"
        response.set_cookie(
            SECURE if is_secure else PLAIN,
            self._identity.seal(_PURPOSE, text),
            max_age=int(self._config.session_s),
            path=PATH,
            secure=is_secure,
            httponly=True,
            samesite="strict",
        )

    def _lasts(self, session: Session) -> bool:
        now = self._clock()
        is_fresh = now - session.seen_at < self._config.session_s
        return is_fresh and now - session.begun_at < self._config.longest_s


def end_session(response: Response) -> None:
    """Let a response take the cookie away."""
    for name in (SECURE, PLAIN):
        response.delete_cookie(name, path=PATH, secure=name == SECURE, httponly=True, samesite="strict")


def is_secure(request: Request) -> bool:
    """Whether the browser speaks TLS, here or with a proxy in front; who lies about it only harms themselves."""
    told = request.headers.get("x-forwarded-proto", "").split(",")[0].strip().lower()
    by_browser = request.headers.get("origin", "").startswith("https://")
    return request.url.scheme == "https" or told == "https" or by_browser


def is_same_site(request: Request) -> bool:
    """Whether a form was sent by a page of this very server, as browsers tell; programs tell nothing."""
    site = request.headers.get("sec-fetch-site")
    if site is not None:
        return site in ("same-origin", "none")
    origin = request.headers.get("origin")
    if origin is None:
        return True
    hosts = (request.headers.get("host"), request.headers.get("x-forwarded-host"))
    return origin.partition("://")[2] in hosts
