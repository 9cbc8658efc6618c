"""The monitor's step of the controller: every task that has a champion is watched, and escalations go on."""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from demur.config import parse_settings
from demur.errors import ArtifactError, ConfigError, StoreUnavailableError
from demur.serve.monitor._alerts import Alerter
from demur.serve.monitor._config import MonitorConfig
from demur.serve.monitor._escalate import Escalator
from demur.serve.monitor._escalation import Escalation
from demur.serve.monitor._judges import Judge, make_judge
from demur.serve.monitor._watch import Watch
from demur.tasks import Task, load_task

if TYPE_CHECKING:
    from demur.store import DriftRunRow, ModelRow, Store

_LOG = logging.getLogger("demur.serve.monitor")


@dataclass(frozen=True)
class StepReport:
    """What one step did."""

    runs: tuple[DriftRunRow, ...]
    """Windows that were looked at."""
    escalations: tuple[Escalation, ...]
    """Of each task that ever had one, as it is now."""
    failed: tuple[tuple[str, str], ...] = ()
    """Tasks that could not be watched, each with the reason."""


class Monitor:
    """Watches all tasks; made once a process, and told again and again to do its next step.

    Parameters
    ----------
    store
        Where records are, and where the monitor keeps what it goes on with.
    config
        What is watched and how.
    alerter
        Who is told.
    judge
        Who judges in an escalation; the one of the configuration where absent.

    Raises
    ------
    RegistryError
        The judge of the configuration is not registered.
    """

    def __init__(
        self, store: Store, config: MonitorConfig, alerter: Alerter | None = None, judge: Judge | None = None
    ) -> None:
        self.store, self.config = store, config
        self.alerter = alerter or Alerter(store)
        chosen = judge or make_judge(config.escalation.judge)
        self._escalator = Escalator(store, config, self.alerter, chosen)

    def step(self, now: datetime) -> StepReport:
        """Do what is due at a time; one task that fails does not keep the others.

        Raises
        ------
        StoreUnavailableError
            The database does not answer; the same call goes on later.
        """
        runs: list[DriftRunRow] = []
        escalations: list[Escalation] = []
        failed: list[tuple[str, str]] = []
        self.alerter.resume()
        for champion in self.store.models(stage="champion"):
            try:
                task = task_of(champion)
                run = Watch(self.store, self.config, task, champion, self._escalator).step(now)
                runs += [run] if run is not None else []
                found = self._escalator.advance(task, champion.version, now)
                escalations += [found] if found is not None else []
            except StoreUnavailableError:
                raise
            except Exception as error:
                # The messages of demur's own errors hold no texts; those of strangers may.
                reason = str(error) if type(error).__module__.startswith("demur.") else type(error).__name__
                _LOG.warning("task '%s' is not watched: %s", champion.task, reason)
                failed.append((champion.task, reason))
        return StepReport(tuple(runs), tuple(escalations), tuple(failed))


def step(
    store: Store, config: MonitorConfig, now: datetime, judge: Judge | None = None, alerter: Alerter | None = None
) -> StepReport:
    """:meth:`Monitor.step` of a monitor that is made for it; for a loop, make a :class:`Monitor` once.

    Parameters
    ----------
    store, config, judge, alerter
        As for :class:`Monitor`.
    now
        The time, in UTC.

    Raises
    ------
    StoreUnavailableError
        The database does not answer; the same call goes on later.
    RegistryError
        The judge of the configuration is not registered.
    """
    return Monitor(store, config, alerter, judge).step(now)


def task_of(champion: ModelRow) -> Task:
    """The task that a registered model answers, from its folder where it is here, else by its name.

    Raises
    ------
    ArtifactError
        Its folder says nothing readable.
    TaskError
        There is no folder here, and no built-in task of the name.
    """
    path = Path(champion.folder) / "demur.json"
    if not path.is_file():
        return load_task(champion.task)
    found = _read_task(path, path.stat().st_mtime_ns)
    return found if found.name == champion.task else load_task(champion.task)


@lru_cache(maxsize=64)
def _read_task(path: Path, _: int) -> Task:
    try:
        return parse_settings(Task, json.loads(path.read_text(encoding="utf-8"))["task"], f"{path}: task")
    except (ValueError, KeyError, TypeError, OSError, ConfigError):
        raise ArtifactError(f"{path} says of no task; restore the file or register another model") from None
