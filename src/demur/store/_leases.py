"""Leases: of many processes one holds a name, for as long as it keeps renewing it."""

from __future__ import annotations

from datetime import datetime, timedelta

from sqlalchemy import Connection, case, or_, select, text, update
from sqlalchemy.dialects import postgresql, sqlite

from demur.store._base import Base
from demur.store._rows import Lease, utc_now
from demur.store._tables import LEASES


class Leases(Base):
    """The part of the store that elects.

    Time is the database server's, so that clocks of several machines need not agree.
    """

    def lease(self, name: str, holder: str, seconds: float) -> Lease | None:
        """Take or renew a lease; None where somebody else holds it.

        Renew it well before it ends, and act under it only for shorter than ``seconds``.

        Parameters
        ----------
        holder
            Unique to the process, such as host and process id and a random part.

        Raises
        ------
        StoreUnavailableError
            The database does not answer; whoever held the lease must act as if it had lost it.
        """
        with self._write() as connection:
            now = self._now(connection)
            make = sqlite.insert if self.is_sqlite else postgresql.insert
            values = {"name": name, "holder": holder, "expires_at": now + timedelta(seconds=seconds), "token": 1}
            statement = make(LEASES).values(values)
            risen = case((LEASES.c.holder == holder, LEASES.c.token), else_=LEASES.c.token + 1)
            renewed = statement.on_conflict_do_update(
                index_elements=[LEASES.c.name],
                set_={
                    "holder": statement.excluded.holder,
                    "expires_at": statement.excluded.expires_at,
                    "token": risen,
                },
                where=or_(LEASES.c.holder == holder, LEASES.c.expires_at <= now),
            )
            connection.execute(renewed)
            found = connection.execute(select(LEASES).where(LEASES.c.name == name)).mappings().one()
            return Lease(**found) if found["holder"] == holder else None

    def release(self, name: str, holder: str) -> bool:
        """Give a lease back early; whether it was held. The row stays, so that its token goes on rising."""
        with self._write() as connection:
            now = self._now(connection)
            mine = (LEASES.c.name == name, LEASES.c.holder == holder, LEASES.c.expires_at > now)
            return connection.execute(update(LEASES).where(*mine).values(expires_at=now)).rowcount > 0

    def leases(self) -> list[Lease]:
        """Every lease, ended ones too."""
        return self._rows(Lease, select(LEASES).order_by(LEASES.c.name))

    def _now(self, connection: Connection) -> datetime:
        if self.is_sqlite:
            return utc_now()
        found: datetime = connection.execute(text("SELECT clock_timestamp()")).scalar_one()
        return found
