"""Deletion by age, as the configuration says."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from demur.serve.control._config import RetentionConfig

if TYPE_CHECKING:
    from demur.store import Store

_HISTORY = ("drift_runs", "experiment_events", "audit")


def purge(store: Store, config: RetentionConfig, now: datetime) -> dict[str, int]:
    """Delete what is older than it may be; the number of rows of each table, and of those that lost texts.

    Parameters
    ----------
    store
        Where to delete.
    config
        How old rows may be.
    now
        UTC.

    Raises
    ------
    StoreUnavailableError
        The database does not answer; what was deleted so far stays deleted.
    """
    done: dict[str, int] = {}
    if config.texts_days is not None:
        done["texts"] = store.purge_texts(now - timedelta(days=config.texts_days))
    if config.records_days is not None:
        done |= store.purge(now - timedelta(days=config.records_days))
    if config.history_days is not None:
        done |= store.purge(now - timedelta(days=config.history_days), _HISTORY)
    if sum(done.values()):
        store.audit("system", "retention.purge", "store", dict(done))
    return done
