"""Another reference by command: the newest rows of a champion, after a change that is there to stay."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from demur.errors import UsageError
from demur.serve.monitor._config import MonitorConfig
from demur.serve.monitor._frame import answers_of, observe_rows, span_of
from demur.serve.monitor._step import task_of
from demur.serve.monitor._watch import TICK, live_reference
from demur.serve.monitor._watch_state import WatchState, state_name
from demur.store import new_id

if TYPE_CHECKING:
    from demur.store import ReferenceRow, Store

FEWEST_ROWS = 100


def take_reference(
    store: Store, config: MonitorConfig, name: str, now: datetime, actor: str, rows: int | None = None
) -> ReferenceRow:
    """Make the newest rows of a task's champion its reference; alarms begin anew.

    Parameters
    ----------
    name
        The task.
    now
        The time.
    actor
        For the audit log.
    rows
        At most so many; ``reference.rows`` of the configuration where absent.

    Raises
    ------
    UsageError
        The task has no champion, or fewer than 100 rows of it are there.
    StoreUnavailableError
        The database does not answer; nothing was changed.
    """
    champion = store.champion(name)
    if champion is None:
        raise UsageError(f"the task '{name}' has no champion; GET /admin/models lists what there is")
    until = now - timedelta(seconds=config.window.settle_s)
    where, wanted = answers_of(champion.version), rows or config.reference.rows
    frame = observe_rows(store, task_of(champion), where, (None, until), wanted)
    if len(frame) < FEWEST_ROWS:
        raise UsageError(
            f"the champion of task '{name}' has answered {len(frame)} rows; a reference takes {FEWEST_ROWS}"
        )
    row = live_reference(store, name, champion.version, "admin", frame).to_row(new_id())
    store.audit(actor, "drift.reference", name, {"id": row.id, "rows": row.rows, "version": champion.version})
    store.add_reference(row)
    after = span_of(frame)[1] + TICK
    state = WatchState(champion.version, after, after, now, reference=row.id)
    store.change_monitor_state(state_name(name), lambda was: state.to_json())
    return row
