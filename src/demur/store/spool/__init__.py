"""The spool: a write-ahead queue on disk between what must not be lost and a database that may be down."""

from typing import TYPE_CHECKING

from demur._lazy import attach

if TYPE_CHECKING:
    from demur.store.spool._config import SpoolConfig as SpoolConfig
    from demur.store.spool._drain import DrainResult as DrainResult
    from demur.store.spool._drainer import Drainer as Drainer
    from demur.store.spool._quarantine import QuarantinedRow as QuarantinedRow
    from demur.store.spool._spool import Spool as Spool
    from demur.store.spool._spool import SpoolStats as SpoolStats
    from demur.store.spool._spool import delete_request as delete_request

__getattr__, __dir__, __all__ = attach(
    __name__,
    {
        "DrainResult": "_drain",
        "Drainer": "_drainer",
        "QuarantinedRow": "_quarantine",
        "Spool": "_spool",
        "SpoolConfig": "_config",
        "SpoolStats": "_spool",
        "delete_request": "_spool",
    },
)
