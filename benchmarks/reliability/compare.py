"""What the client was told against what the database holds. See README.md."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

from traffic import Account

from demur.store import Store


def compare(store: Store, account: Account) -> dict[str, Any]:
    """Count what is lost, there twice, or other than it was told; examples of each by id."""
    rows = [row for row in store.predictions() if not row.is_shadow]
    times = Counter((row.request_id, row.item, row.task) for row in rows)
    labels = {(row.request_id, row.item, row.task): row.label for row in rows}
    told = {(id, *place): label for id, found in account.answers.items() for place, label in found.items()}
    lost = [key for key in told if key not in times]
    twice = [key for key, count in times.items() if count > 1] + _asked_twice(times, account)
    other = [key for key, label in told.items() if label is not None and labels.get(key, label) != label]
    # Of an answer that was received, nothing may be recorded that it did not say.
    other += [key for key in times if key[0] in account.answers and key not in told]
    unknown = {id for id, _, _ in times} - set(account.answers)
    feedback = compare_feedback(store, account)
    return {
        "rows_told": len(told),
        "rows_recorded": len(rows),
        "recorded_but_not_answered": len(unknown),
        "feedback_told": len(account.feedback),
        "feedback_recorded": feedback["recorded"],
        "lost": len(lost) + len(feedback["lost"]),
        "twice": len(twice) + len(feedback["twice"]),
        "contradicting": len(other) + len(feedback["other"]),
        "examples": {
            "lost": [*lost, *feedback["lost"]][:5],
            "twice": [*twice, *feedback["twice"]][:5],
            "contradicting": [*other, *feedback["other"]][:5],
        },
    }


def _asked_twice(times: Counter[tuple[str, int, str]], account: Account) -> list[Any]:
    """Requests with an id of the caller's, which was sent once, that are recorded under two ids of ours."""
    recorded = Counter(id.partition("~")[0] for id in {id for id, _, _ in times} if "~" in id)
    return [given for given, count in recorded.items() if count > 1]


def compare_feedback(store: Store, account: Account) -> dict[str, Any]:
    rows = store.feedback()
    by_id = {row.id: (row.request_id, row.item, row.task, row.label) for row in rows}
    times = Counter((row.request_id, row.item, row.task) for row in rows)  # the client speaks once of each
    return {
        "recorded": len(rows),
        "lost": [id for id in account.feedback if id not in by_id],
        "twice": [key for key, count in times.items() if count > 1],
        "other": [id for id, said in account.feedback.items() if by_id.get(id, said) != said],
    }


def what_is_left(folder: Path) -> dict[str, int]:
    """What is still in the spool of a server that has ended."""
    from demur.store import Spool

    stats = Spool(folder).stats()
    broken = len(list(folder.glob("*.broken")))
    return {"rows": stats.rows, "quarantined": stats.quarantined, "broken_files": broken}
