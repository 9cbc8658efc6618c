"""The controller's share of retraining: a state machine over the store's rows, with at most one process behind it.

Whatever takes long is done by a process of its own (``_job``). Here a row goes from stage to stage once what its
stage asks for is there. Killed at any moment, the next controller finds the row in its stage and goes on.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from demur.errors import StorageError, StoreError, StoreUnavailableError
from demur.serve.retrain import _stages as stages
from demur.serve.retrain._config import RetrainConfig, TaskConfig
from demur.serve.retrain._folder import RetrainFolder, Spent
from demur.serve.retrain._order import WORK, Order, Work
from demur.serve.retrain._process import StepProcess
from demur.serve.retrain._rollout import look_at_rollout, start_rollout
from demur.serve.retrain._stages import move_retrain, open_retrains, request_retrain

if TYPE_CHECKING:
    from demur.store import RetrainRow, Store

_LOG = logging.getLogger("demur.serve.retrain")
_DAY = timedelta(days=1)
_RECENT, _TIDY = timedelta(days=7), timedelta(seconds=30)
_NOTE_S = 60.0
"""Seconds of a process that are lost to the count at most when its controller is killed."""
_NEXT: Mapping[str, str] = {"gathering": "training", "training": "comparing"}
Tell = Callable[[str, Mapping[str, Any]], None]
"""Is told how a retraining ended: a kind, such as ``retrain.rejected``, and facts."""


@dataclass(frozen=True)
class Served:
    """What the processes of a retraining must know of the server."""

    database: str
    """Address with its password."""
    operating_point: str | None = None
    """The point that decides ``flagged``, if the server names one."""


class Retrainer:
    """Brings retrainings forward; made once a process.

    Parameters
    ----------
    store
        Where requests and their stages are.
    config
        Which tasks, and how.
    served
        What processes must know of the server.
    tell
        Told of every end; the log where absent.
    """

    def __init__(
        self,
        store: Store,
        config: RetrainConfig,
        served: Served,
        tell: Tell | None = None,
    ) -> None:
        self.store, self.config = store, config
        self._served, self._tell = served, tell or tell_log
        self._process: StepProcess | None = None
        self._lock = threading.Lock()
        self._is_closed = self._is_paused = False
        self._before = Spent()
        """What the step of the process had cost when it was begun, the process counted."""
        self._noted_s = 0.0
        self._tidied: datetime | None = None

    def step(self, now: datetime) -> None:
        """Do what is due at a time.

        Raises
        ------
        StoreUnavailableError
            The database does not answer; a process that trains goes on meanwhile.
        """
        self._is_paused = False
        self._schedule(now)
        rows = open_retrains(self.store)
        self._drop_process({(row.id, row.stage) for row in rows})
        for row in rows:
            try:
                self._advance(row, now)
            except StoreUnavailableError:
                raise
            except StoreError as error:  # stopped, or moved by another, in this very moment
                _LOG.info("retraining %s: %s", row.id, error)
        self._tidy(now)

    def pause(self) -> None:
        """Kill the process, since another controller may begin the same; its finished fits are not lost.

        A step that goes on meanwhile begins no other.
        """
        with self._lock:
            self._is_paused = True
        self._kill(is_attempt=None)

    def close(self) -> None:
        """Kill the process, and begin no other."""
        self._is_closed = True
        self.pause()

    def _kill(self, *, is_attempt: bool | None = True) -> None:
        """End the process, and keep what its step has cost; None: it was an attempt if it had ended by itself."""
        with self._lock:
            process, self._process = self._process, None
        if process is None:
            return
        if is_attempt is None:
            is_attempt = process.exit_code is not None
        process.kill()
        begun = self._before.begun if is_attempt else self._before.begun - 1
        with suppress(StorageError):  # the disk is full: one attempt more is the lesser evil
            self._note(process, begun)

    def _note(self, process: StepProcess, begun: int) -> None:
        """Keep what the step of a process has cost until now."""
        self._noted_s = process.seconds
        spent = Spent(begun, self._before.seconds + process.seconds)
        process.order.files.write_spent(process.order.work, spent)

    def _schedule(self, now: datetime) -> None:
        """Ask for what is due without a cause."""
        for task, settings in self.config.tasks.items():
            if settings.every_days is None or open_retrains(self.store, task):
                continue
            last = [row.ended_at or row.at for row in self.store.retrains(task, limit=20) if row.stage != "merged"]
            champion = self.store.champion(task)
            since = max([*last, *([champion.at] if champion is not None else [])], default=None)
            if since is not None and now - since >= timedelta(days=settings.every_days):
                request_retrain(self.store, task, "schedule", now)

    def _advance(self, row: RetrainRow, now: datetime) -> None:
        settings = self.config.tasks.get(row.task)
        if settings is None:
            self._end(row, "failed", now, f"the configuration has no retraining of task '{row.task}'; add it")
        elif row.stage == stages.REQUESTED:
            self._begin(row, settings, now)
        elif row.stage in WORK:
            self._work(row, settings, row.stage, now)
        elif row.stage == stages.REGISTERING:
            self._register(row, settings, now)
        else:
            stage, facts = look_at_rollout(self.store, row, settings.rollout, now)
            if stage in stages.ENDED:
                self._end(row, stage, now, facts.pop("reason"), facts)
            elif stage != row.stage:
                move_retrain(self.store, row, stage, now, facts)

    # Beginning

    def _begin(self, row: RetrainRow, settings: TaskConfig, now: datetime) -> None:
        """Begin what was asked for, unless another of the task goes on or it is too early."""
        others = [one for one in open_retrains(self.store, row.task) if one.id != row.id]
        before = [one for one in others if one.stage in stages.ACTIVE or (one.at, one.id) < (row.at, row.id)]
        if before:
            self._end(row, "merged", now, f"retraining {before[0].id} is under way")
            return
        if self._wait_until(row, settings, now) > now:
            return
        champion = self.store.champion(row.task)
        if champion is None:
            self._end(
                row, "failed", now, f"task '{row.task}' has no champion to compare with; serve a model of it"
            )
            return
        facts = {
            "started_at": now.isoformat(),
            "champion": champion.version,
            "folder": str(self._folder(row).root),
        }
        move_retrain(self.store, row, stages.GATHERING, now, facts)

    def _wait_until(self, row: RetrainRow, settings: TaskConfig, now: datetime) -> datetime:
        """When it may begin: after the cool-down, and once fewer have begun within a day than may."""
        earlier = [one for one in self.store.retrains(row.task, limit=200) if "started_at" in one.facts]
        begun = sorted(datetime.fromisoformat(one.facts["started_at"]) for one in earlier)
        recent = [at for at in begun if now - at < _DAY]
        free = now if len(recent) < settings.max_per_day else recent[-settings.max_per_day] + _DAY
        ended = [one.ended_at for one in earlier if one.ended_at is not None]
        if ended and not row.facts.get("is_urgent"):
            free = max(free, max(ended) + timedelta(hours=settings.cool_down_hours))
        return free

    # Steps with a process

    def _work(self, row: RetrainRow, settings: TaskConfig, work: Work, now: datetime) -> None:
        """Take the result of a step that has one, else see that its process runs."""
        files = self._folder(row)
        result = files.result(work)
        if result is not None:
            self._take(row, work, result, now)
            return
        with self._lock:
            process = self._process
        if process is None:
            begun = files.spent(work).begun
            if begun >= self.config.attempts:
                reason = f"the process of {work} and its controller were killed (often for want of memory)"
                self._fail(row, work, f"{reason}; tried {begun} times", now)
            else:
                self._start(row, settings, work)
        elif process.order.id != row.id:
            return  # one at a time: this one waits
        elif process.exit_code is None:
            self._watch(row, work, process, now)
        else:
            self._lost(row, files, work, process, now)

    def _watch(self, row: RetrainRow, work: Work, process: StepProcess, now: datetime) -> None:
        """See that a step does not take too long, whoever began it."""
        if self._before.seconds + process.seconds > self.config.max_hours * 3600:
            self._kill()
            self._fail(row, work, f"{work} took longer than {self.config.max_hours:g} hours", now)
            return
        with self._lock:
            if self._process is process and process.seconds - self._noted_s >= _NOTE_S:
                self._note(process, self._before.begun)

    def _start(self, row: RetrainRow, settings: TaskConfig, work: Work) -> None:
        champion = self.store.champion(row.task)
        order = Order(
            id=row.id,
            work=work,
            task=row.task,
            folder=self._folder(row).root,
            models=Path(self.config.folder).resolve() / "models",
            settings=settings,
            database=self._served.database,
            at=datetime.fromisoformat(row.facts["started_at"]),
            champion="" if champion is None else champion.folder,
            champion_version="" if champion is None else champion.version,
            operating_point=self._served.operating_point,
            nice=self.config.nice,
            threads=self.config.threads,
        )
        with self._lock:
            if self._is_closed or self._is_paused or self._process is not None:
                return
            spent = order.files.spent(work)
            self._before, self._noted_s = Spent(spent.begun + 1, spent.seconds), 0.0
            order.files.write_spent(work, self._before)  # before it can kill its controller
            self._process = StepProcess(order)

    def _lost(
        self, row: RetrainRow, files: RetrainFolder, work: Work, process: StepProcess, now: datetime
    ) -> None:
        """A process ended without a result: try again, unless that is pointless or was done often enough."""
        code = process.exit_code
        error = files.error(work) or {
            "reason": f"the process of {work} ended with {code} (-9: killed, often for want of memory)",
            "is_final": False,
            "is_counted": True,
        }
        self._kill(is_attempt=error["is_counted"])
        if files.result(work) is not None:  # written between two looks
            return
        if error["is_final"]:
            self._fail(row, work, error["reason"], now)
            return
        if not error["is_counted"]:
            return
        begun = self._before.begun
        _LOG.warning("retraining %s: %s (attempt %d)", row.id, error["reason"], begun)
        if begun >= self.config.attempts:
            self._fail(row, work, f"{error['reason']}; tried {begun} times", now)

    def _fail(self, row: RetrainRow, work: str, reason: str, now: datetime) -> None:
        self._end(row, "failed", now, reason, {"failed_while": work})

    def _take(self, row: RetrainRow, work: Work, result: dict[str, Any], now: datetime) -> None:
        """Go on with what a step left."""
        if work != "comparing":
            move_retrain(self.store, row, _NEXT[work], now, {work: result})
            return
        champion = self.store.champion(row.task)
        if champion is not None and champion.version != result["champion"]:
            self._folder(row).forget("comparing")  # another was promoted meanwhile: compare with that one
            return
        if result["challenger"]["version"] == result["champion"]:
            self._end(row, "rejected", now, "it is the champion itself: what was gathered changed nothing")
            return
        self._add_model(row, result)
        facts = {
            "comparing": result,
            "champion": result["champion"],
            "challenger": result["challenger"]["version"],
            "threat_labels": result["threat_labels"],
        }
        if result["gate"]["is_accepted"]:
            move_retrain(self.store, row, stages.REGISTERING, now, facts)
        else:
            self._end(row, "rejected", now, "; ".join(result["gate"]["reasons"]), facts)

    def _add_model(self, row: RetrainRow, result: dict[str, Any]) -> None:
        """The challenger in the registry, whether it is to be tried or is only there to be looked at."""
        from demur.store import ModelRow

        is_accepted = result["gate"]["is_accepted"]
        known = result["challenger"]
        pair = result["gate"]["pairs"]["golden"]["metrics"]["custom_score"]
        metrics = {
            "retraining": row.id,
            "golden_sha256": row.facts["gathering"]["golden_sha256"],
            "custom_score": pair["a"],
            "champion_custom_score": pair["b"],
        }
        model = ModelRow(
            task=row.task,
            name=known["name"],
            version=known["version"],
            folder=known["folder"],
            stage="challenger" if is_accepted else "rejected",
            metrics=metrics,
            parent=result["champion"],
        )
        if self.store.register_model(model).stage != model.stage:
            self.store.set_stage(row.task, model.version, model.stage)

    # Trying it

    def _register(self, row: RetrainRow, settings: TaskConfig, now: datetime) -> None:
        champion = self.store.champion(row.task)
        if champion is None or champion.version != row.facts["champion"]:
            self._folder(row).forget("comparing")
            move_retrain(self.store, row, stages.COMPARING, now, {"note": "the champion is another since"})
            return
        experiment = start_rollout(self.store, row, row.facts["challenger"], settings, now)
        if isinstance(experiment, str):
            if row.facts.get("waits_for") != experiment:
                self.store.update_retrain(row.id, facts={**row.facts, "waits_for": experiment}, was=row.stage)
            return
        move_retrain(self.store, row, stages.SHADOW, now, {"experiment": experiment.id, "waits_for": None})

    # Ends

    def _end(
        self, row: RetrainRow, stage: str, now: datetime, reason: str, facts: Mapping[str, Any] | None = None
    ) -> None:
        """End a retraining, and with it its experiment: that would go on to promote by itself."""
        if stage != "promoted":
            stages.stop_experiment(self.store, row, now)
            promoted = stages.promoted_experiment(self.store, row)
            if promoted is not None:
                stage, reason = "promoted", f"its experiment {promoted.id} promoted it"
        ended = move_retrain(self.store, row, stage, now, {**(facts or {}), "reason": reason})
        self._tidy_folder(ended)
        self._tell(f"retrain.{stage}", {"retraining": row.id, "task": row.task, "reason": reason})

    def _tidy(self, now: datetime) -> None:
        """What an end that was cut short, or a stop by command, leaves: an experiment under way, texts on disk."""
        if self._tidied is not None and now - self._tidied < _TIDY:
            return
        self._tidied = now
        for row in self.store.retrains(limit=20):
            if row.ended_at is not None and now - row.ended_at < _RECENT:
                if row.stage != "promoted":
                    stages.stop_experiment(self.store, row, now)
                self._tidy_folder(row)

    def _tidy_folder(self, row: RetrainRow) -> None:
        if not self.config.keep_data:
            self._folder(row).tidy()

    def _drop_process(self, wanted: set[tuple[str, str]]) -> None:
        """Kill a process whose retraining was stopped."""
        with self._lock:
            process = self._process
        if process is not None and (process.order.id, process.order.work) not in wanted:
            self._kill()

    def _folder(self, row: RetrainRow) -> RetrainFolder:
        name = "".join(one if one.isalnum() or one in "-_" else "_" for one in row.id)
        return RetrainFolder(Path(self.config.folder).resolve() / "runs" / name)


def tell_log(kind: str, facts: Mapping[str, Any]) -> None:
    """Write how a retraining ended into the log."""
    _LOG.warning("%s: task %s, retraining %s: %s", kind, facts["task"], facts["retraining"], facts["reason"])
