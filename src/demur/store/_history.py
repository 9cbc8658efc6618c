"""Experiments with their events, drift runs, retraining and the audit log in the store."""

from __future__ import annotations

from datetime import datetime
from typing import Any, TypeVar

from sqlalchemy import Select, Table, select, update

from demur.errors import StoreError, UnknownRowError
from demur.store._base import Base, between
from demur.store._rows import (
    AuditRow,
    DriftRunRow,
    ExperimentEvent,
    ExperimentRow,
    ExperimentStage,
    RetrainRow,
    new_id,
)
from demur.store._tables import AUDIT, DRIFT_RUNS, EVENTS, EXPERIMENTS, RETRAINS

R = TypeVar("R")


class History(Base):
    """The part of the store that keeps what the guard did to itself."""

    def add_experiment(self, row: ExperimentRow) -> None:
        """Store a new experiment; one whose id is there is left as it is."""
        self._add(EXPERIMENTS, row)

    def experiment(self, id: str) -> ExperimentRow | None:
        """One experiment."""
        return self._one(ExperimentRow, select(EXPERIMENTS).where(EXPERIMENTS.c.id == id))

    def experiments(
        self, task: str | None = None, stage: ExperimentStage | None = None, limit: int | None = None
    ) -> list[ExperimentRow]:
        """The experiments, the newest first."""
        query = select(EXPERIMENTS)
        if stage is not None:
            query = query.where(EXPERIMENTS.c.stage == stage)
        return self._rows(ExperimentRow, _newest(query, EXPERIMENTS, task, limit))

    def update_experiment(
        self,
        id: str,
        stage: ExperimentStage | None = None,
        state: dict[str, Any] | None = None,
        ended_at: datetime | None = None,
        was: ExperimentStage | None = None,
    ) -> ExperimentRow:
        """Replace what is given, and return the experiment as it is now.

        Parameters
        ----------
        was
            Change it only if it is in this stage still, so that of two who decide at once one wins.

        Raises
        ------
        UnknownRowError
            There is no such experiment.
        StoreError
            It has left the stage ``was``.
        StoreUnavailableError
            The database does not answer.
        """
        return self._update(
            ExperimentRow, EXPERIMENTS, id, was, _given(stage=stage, state=state, ended_at=ended_at)
        )

    def add_event(self, row: ExperimentEvent) -> None:
        """Add a line to an experiment's history."""
        self._add(EVENTS, row)

    def events(self, experiment: str, kind: str | None = None) -> list[ExperimentEvent]:
        """An experiment's history in order of time."""
        query = select(EVENTS).where(EVENTS.c.experiment == experiment).order_by(EVENTS.c.at, EVENTS.c.id)
        return self._rows(ExperimentEvent, query if kind is None else query.where(EVENTS.c.kind == kind))

    def add_drift_run(self, row: DriftRunRow) -> None:
        """Store a drift run."""
        self._add(DRIFT_RUNS, row)

    def drift_runs(
        self,
        task: str | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        limit: int | None = None,
    ) -> list[DriftRunRow]:
        """The drift runs, the newest first."""
        query = between(select(DRIFT_RUNS), DRIFT_RUNS, since, until)
        return self._rows(DriftRunRow, _newest(query, DRIFT_RUNS, task, limit))

    def add_retrain(self, row: RetrainRow) -> None:
        """Store the beginning of a retraining."""
        self._add(RETRAINS, row)

    def retrain(self, id: str) -> RetrainRow | None:
        """One retraining."""
        return self._one(RetrainRow, select(RETRAINS).where(RETRAINS.c.id == id))

    def retrains(
        self, task: str | None = None, stage: str | None = None, limit: int | None = None
    ) -> list[RetrainRow]:
        """The retrainings, the newest first."""
        query = select(RETRAINS)
        if stage is not None:
            query = query.where(RETRAINS.c.stage == stage)
        return self._rows(RetrainRow, _newest(query, RETRAINS, task, limit))

    def update_retrain(
        self,
        id: str,
        stage: str | None = None,
        facts: dict[str, Any] | None = None,
        ended_at: datetime | None = None,
        was: str | None = None,
    ) -> RetrainRow:
        """Replace what is given, and return the retraining as it is now; ``was`` as in :meth:`update_experiment`.

        Raises
        ------
        UnknownRowError
            There is no such retraining.
        StoreError
            It has left the stage ``was``.
        StoreUnavailableError
            The database does not answer.
        """
        return self._update(RetrainRow, RETRAINS, id, was, _given(stage=stage, facts=facts, ended_at=ended_at))

    def audit(self, actor: str, act: str, target: str, facts: dict[str, Any] | None = None) -> AuditRow:
        """Write a line into the audit log, and give it back.

        Raises
        ------
        StoreUnavailableError
            The database does not answer; the act should not be done then.
        """
        row = AuditRow(id=new_id(), actor=actor, act=act, target=target, facts=facts or {})
        self._add(AUDIT, row)
        return row

    def audit_log(
        self,
        since: datetime | None = None,
        until: datetime | None = None,
        limit: int | None = None,
        actor: str | None = None,
        act: str | None = None,
        target: str | None = None,
    ) -> list[AuditRow]:
        """The audit log, the newest line first."""
        query = between(select(AUDIT), AUDIT, since, until)
        for column, value in ((AUDIT.c.actor, actor), (AUDIT.c.act, act), (AUDIT.c.target, target)):
            query = query if value is None else query.where(column == value)
        return self._rows(AuditRow, _newest(query, AUDIT, None, limit))

    def _update(self, kind: type[R], table: Table, id: str, was: str | None, values: dict[str, Any]) -> R:
        with self._write() as connection:
            found = connection.execute(select(table).where(table.c.id == id).with_for_update()).mappings().first()
            noun = table.name.removeprefix("demur_").removesuffix("s")
            if found is None:
                raise UnknownRowError(f"there is no {noun} '{id}' in the store; list them first")
            if was is not None and found["stage"] != was:
                raise StoreError(f"{noun} '{id}' is '{found['stage']}', no longer '{was}'; nothing was changed")
            if values:
                connection.execute(update(table).where(table.c.id == id).values(values))
            return kind(**{**found, **values})


def _given(**values: Any) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}


def _newest(query: Select[Any], table: Table, task: str | None, limit: int | None) -> Select[Any]:
    query = query if task is None else query.where(table.c.task == task)
    return query.order_by(table.c.at.desc(), table.c.id).limit(limit)
