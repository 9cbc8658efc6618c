"""The registry of models in the store: which versions there are, and which one is the champion of a task."""

from __future__ import annotations

from sqlalchemy import ColumnElement, Connection, select, update

from demur.errors import UnknownRowError
from demur.store._base import Base, as_values
from demur.store._rows import ModelRow, ModelStage
from demur.store._tables import MODELS


class ModelRegistry(Base):
    """The part of the store that knows the models; a task has one champion or none, at any moment."""

    def register_model(self, row: ModelRow) -> ModelRow:
        """Add a model, and give it back as it stands in the registry.

        One that is there already keeps stage, metrics and time; its folder and name are brought up to date. A new
        champion retires the one before it.

        Raises
        ------
        StoreUnavailableError
            The database does not answer.
        """
        with self._write() as connection:
            _lock(connection, self.is_sqlite)
            known = connection.execute(select(MODELS).where(*_key(row.task, row.version))).mappings().first()
            if known is None and row.stage == "champion":
                _retire(connection, row.task)
            if known is None:
                self._insert(connection, MODELS, [as_values(row)])
                return row
            new = {"folder": row.folder, "name": row.name}
            connection.execute(update(MODELS).where(*_key(row.task, row.version)).values(new))
            return ModelRow(**{**known, **new})

    def set_stage(self, task: str, version: str, stage: ModelStage) -> ModelRow:
        """Move a model to a stage; making one the champion retires the champion before it, in one transaction.

        Raises
        ------
        UnknownRowError
            The registry has no such model.
        StoreUnavailableError
            The database does not answer.
        """
        with self._write() as connection:
            _lock(connection, self.is_sqlite)
            known = connection.execute(select(MODELS).where(*_key(task, version))).mappings().first()
            if known is None:
                raise UnknownRowError(f"the registry has no version '{version}' of task '{task}'; list them first")
            if stage == "champion":
                _retire(connection, task)
            connection.execute(update(MODELS).where(*_key(task, version)).values(stage=stage))
            return ModelRow(**{**known, "stage": stage})

    def models(self, task: str | None = None, stage: ModelStage | None = None) -> list[ModelRow]:
        """The models of a task, or of all, in order of time."""
        query = select(MODELS).order_by(MODELS.c.at, MODELS.c.task, MODELS.c.version)
        for column, value in ((MODELS.c.task, task), (MODELS.c.stage, stage)):
            query = query if value is None else query.where(column == value)
        return self._rows(ModelRow, query)

    def model(self, task: str, version: str) -> ModelRow | None:
        """One model."""
        return self._one(ModelRow, select(MODELS).where(*_key(task, version)))

    def champion(self, task: str) -> ModelRow | None:
        """The model whose answers count, if the task has one."""
        return self._one(ModelRow, select(MODELS).where(MODELS.c.task == task, MODELS.c.stage == "champion"))


def _key(task: str, version: str) -> tuple[ColumnElement[bool], ColumnElement[bool]]:
    return MODELS.c.task == task, MODELS.c.version == version


def _lock(connection: Connection, is_sqlite: bool) -> None:
    """Change the registry one at a time: two promotions at once would each retire the other's predecessor only."""
    if not is_sqlite:  # there the transaction of a writer is alone anyway
        connection.exec_driver_sql(f"LOCK TABLE {MODELS.name} IN SHARE ROW EXCLUSIVE MODE")


def _retire(connection: Connection, task: str) -> None:
    champion = (MODELS.c.task == task, MODELS.c.stage == "champion")
    connection.execute(update(MODELS).where(*champion).values(stage="retired"))
