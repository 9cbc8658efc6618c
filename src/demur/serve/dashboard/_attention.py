"""What somebody should look at now, in sentences that lead to the place."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from demur.serve.dashboard._answers import number
from demur.serve.dashboard._drift import is_alarm, why_unwatched
from demur.serve.dashboard._experiments import OPEN
from demur.serve.dashboard._words import ago, plain, share

if TYPE_CHECKING:
    from demur.serve.dashboard._gather import Snapshot
    from demur.serve.dashboard._local import LocalFacts

_LATE_S = 60.0
_FAILED = 0.01
_DAY = timedelta(days=1)


@dataclass(frozen=True)
class Concern:
    """A sentence, and the part of the page that says more."""

    words: str
    anchor: str


def find_concerns(local: LocalFacts, found: Snapshot | None) -> list[Concern]:
    """What is wrong, here and in what the store told."""
    return [*_of_server(local), *(_of_store(found) if found is not None else [])]


def _of_server(local: LocalFacts) -> list[Concern]:
    concerns = []
    if local.status != "ready":
        concerns.append(Concern(f"This worker is {local.status}.", "server"))
    for version, why in local.problems.items():
        concerns.append(Concern(f"Model {version[:12]} cannot be loaded: {why}", "models"))
    spool = local.spool
    if spool is not None and (spool.oldest_age_s or 0) > _LATE_S:
        waited = ago(timedelta(seconds=spool.oldest_age_s or 0))
        concerns.append(Concern(f"Records have waited {waited} on disk for the database.", "server"))
    if spool is not None and spool.quarantined:
        words = (
            f"{number(spool.quarantined)} records fit no table and are set aside; see: demur store drain --spool"
        )
        concerns.append(Concern(words, "server"))
    if local.counted.lost:
        concerns.append(Concern(f"{number(local.counted.lost)} records were lost since the start.", "server"))
    return concerns


def _of_store(found: Snapshot) -> list[Concern]:
    concerns = []
    requests, errors = sum(one.requests for one in found.traffic), sum(one.errors for one in found.traffic)
    if requests and errors / requests > _FAILED:
        concerns.append(Concern(f"{share(errors / requests)} of requests failed.", "traffic"))
    watches = {watch.task: watch for watch in found.watches}
    for task, runs in found.runs.items():
        if runs and (why := why_unwatched(watches.get(task), runs[0], found)):
            concerns.append(Concern(f"{task} is not watched for drift now: {why}.", "drift"))
        if runs and (is_alarm(runs[0]) or is_alarm(runs[0], "operation")):
            concerns.append(Concern(f"The last window of {task} raised an alarm.", "drift"))
    for watch in found.watches:
        if watch.escalation is not None and watch.escalation.outcome is None:
            by = watch.escalation.judge
            concerns.append(Concern(f"A sample of {watch.task} is being judged by {by}.", "drift"))
    for one in found.experiments:
        is_new = one.ended_at is not None and found.at - one.ended_at < _DAY
        if one.stage in OPEN and any(guard.is_breached for guard in one.guards):
            concerns.append(Concern(f"A guard rail of “{one.name}” is passed.", "experiments"))
        elif one.stage == "rolled_back" and is_new:
            concerns.append(Concern(f"“{one.name}” was rolled back.", "experiments"))
    for row in found.retrains:
        is_new = row.ended_at is not None and found.at - row.ended_at < _DAY
        if row.stage in ("failed", "rejected") and is_new:
            concerns.append(Concern(f"A retraining of {row.task} ended as {plain(row.stage)}.", "retraining"))
    return concerns
