"""``/admin/*``: models, keys, the audit log, deletion; every act is in the audit log before it is done."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import APIRouter, Depends, Query, Request

from demur.errors import ArtifactError, ConfigError, DemurError, RunError
from demur.serve.api._admin_schemas import (
    AnswerId,
    AuditEntries,
    AuditEntry,
    Deleted,
    KeyEntries,
    KeyEntry,
    KeyId,
    MadeKey,
    ModelEntries,
    ModelEntry,
    NewKey,
    NewModel,
    NewStage,
    Reloaded,
    Version,
    Word,
)
from demur.serve.api._call import get_call
from demur.serve.api._errors import ApiError
from demur.serve.api._keys import needs
from demur.serve.api._parts import Parts
from demur.serve.api._route import guard_router
from demur.serve.api._schemas import BODY_ERRORS, READ_ERRORS, TaskName, error_responses

if TYPE_CHECKING:
    from demur.serve._config import AdminConfig
    from demur.store import ModelRow

_LOOK = READ_ERRORS | error_responses(422)
_CHANGE = BODY_ERRORS | error_responses(404, 409)


def get_parts(request: Request) -> Parts:
    """The parts of the application; a dependency for routes."""
    found: Any = request.app.state.parts
    assert isinstance(found, Parts)
    return found


def get_actor(request: Request) -> str:
    """Who acts, for the audit log; a dependency for routes."""
    return get_call(request).caller.key_id or "unknown"


Given = Annotated[Parts, Depends(get_parts)]
Actor = Annotated[str, Depends(get_actor)]


def make_router() -> APIRouter:
    """The routes."""
    router = guard_router("/admin", ["admin"])
    every: list[tuple[str, str, Any, Any, Any]] = [
        ("GET", "/models", list_models, ModelEntries, READ_ERRORS | error_responses(422)),
        ("POST", "/models", register, ModelEntries, _CHANGE),
        ("POST", "/models/{task}/{version}/stage", set_stage, ModelEntry, _CHANGE),
        ("POST", "/reload", reload, Reloaded, _LOOK),
        ("GET", "/keys", list_keys, KeyEntries, READ_ERRORS),
        ("POST", "/keys", make_key, MadeKey, _CHANGE),
        ("DELETE", "/keys/{id}", revoke_key, KeyEntry, _LOOK | error_responses(404)),
        ("GET", "/audit", show_audit, AuditEntries, _LOOK),
        ("DELETE", "/requests/{id}", delete_request, Deleted, _LOOK | error_responses(404)),
    ]
    for method, path, endpoint, model, errors in every:
        router.add_api_route(
            path, endpoint, methods=[method], response_model=model, responses=errors, openapi_extra=needs("admin")
        )
    return router


def list_models(parts: Given, task: Annotated[TaskName | None, Query()] = None) -> ModelEntries:
    """List the registry."""
    return ModelEntries(models=[_entry(parts, row) for row in parts.store.models(task)])


def register(body: NewModel, parts: Given, actor: Actor) -> ModelEntries:
    """Add a model to the registry; nobody is answered by it yet."""
    rows = [replace(row, stage=body.stage) for row in _find_models(body.folder, parts.config.admin)]
    for row in rows:
        facts = {"name": row.name, "stage": row.stage}
        parts.store.audit(actor, "model.register", f"{row.task}/{row.version}", facts)
    return ModelEntries(models=[_entry(parts, parts.store.register_model(row)) for row in rows])


def set_stage(task: TaskName, version: Version, body: NewStage, parts: Given, actor: Actor) -> ModelEntry:
    """Move a model to a stage.

    A new champion is loaded and warmed first, and refused where that fails; then it answers in this worker at
    once, and in the others within the seconds of `refresh_s`.
    """
    row = parts.store.model(task, version)
    if row is None:
        raise ApiError(404, "the registry has no such model; GET /admin/models lists them")
    if body.stage == "champion":
        try:
            parts.pool.check(row)
        except DemurError as error:
            raise ApiError(409, f"the model cannot be loaded, so the champion stays: {error}") from error
    parts.store.audit(actor, f"model.{body.stage}", f"{task}/{version}", {"was": row.stage})
    row = parts.store.set_stage(task, version, body.stage)
    parts.refresh()
    return _entry(parts, row)


def reload(parts: Given) -> Reloaded:
    """Read the registry now, in the worker that answers."""
    parts.refresh()
    versions = {task: model.version for task, model in parts.pool.state.champions.items()}
    return Reloaded(versions=versions, problems=parts.pool.problems)


def list_keys(parts: Given) -> KeyEntries:
    """List the keys, revoked ones too."""
    rows = parts.store.keys()
    return KeyEntries(keys=[KeyEntry(**_key_values(row)) for row in rows])


def make_key(body: NewKey, parts: Given, actor: Actor) -> MadeKey:
    """Make a key; its text is shown once and kept nowhere."""
    from demur.store import new_key

    text, row = new_key(body.name, body.scopes, body.rate_per_s)
    parts.store.audit(actor, "key.make", row.id, {"name": row.name, "scopes": row.scopes})
    parts.store.add_key(row)
    return MadeKey(key=text, **_key_values(row))


async def revoke_key(id: KeyId, parts: Given, actor: Actor) -> KeyEntry:
    """Revoke a key; other workers know within the seconds of `keys.refresh_s`."""

    def revoke() -> Any:
        parts.store.audit(actor, "key.revoke", id)
        return parts.store.revoke_key(id)

    row = await asyncio.to_thread(revoke)
    await parts.gate.refresh()
    return KeyEntry(**_key_values(row))


def show_audit(
    parts: Given,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    actor: Annotated[Word | None, Query()] = None,
    act: Annotated[Word | None, Query()] = None,
) -> AuditEntries:
    """Show the newest acts."""
    rows = parts.store.audit_log(limit=limit, actor=actor, act=act)
    return AuditEntries(
        acts=[
            AuditEntry(id=row.id, actor=row.actor, act=row.act, target=row.target, facts=row.facts, at=row.at)
            for row in rows
        ]
    )


def delete_request(id: AnswerId, parts: Given, actor: Actor) -> Deleted:
    """Delete all that is recorded of an answer, also what waits on this disk, and refuse what comes later."""
    from demur.store.spool import delete_request as delete

    if not parts.identity.is_answer_id(id):
        raise ApiError(404, "no answer has this id; give the id of an answer")
    parts.store.audit(actor, "request.delete", id)
    return Deleted(rows=delete(parts.store, parts.spool, id))


def _find_models(name: str, config: AdminConfig) -> list[ModelRow]:
    """The models of a folder; where one lies is looked at with every link resolved."""
    from demur.serve.pool import find_models

    try:
        folder = Path(name).resolve()
        if config.allows(folder) and not folder.is_dir():
            raise ApiError(404, "the server has no such folder; give that of a saved model or of a run", "folder")
        rows = find_models([folder]) if config.allows(folder) else []
    except (ArtifactError, RunError, ConfigError) as error:
        raise ApiError(404, str(error).replace(str(folder), "the folder"), "folder") from error
    except (OSError, RuntimeError, ValueError):  # a name that is too long, links in a circle
        raise ApiError(404, "the server cannot read such a folder; give another", "folder") from None
    if not rows or not all(config.allows(Path(row.folder)) for row in rows):
        raise ApiError(403, "models may not be registered from there; see admin.folders", "folder")
    return rows


def _entry(parts: Parts, row: Any) -> ModelEntry:
    return ModelEntry(
        task=row.task,
        name=row.name,
        version=row.version,
        folder=row.folder,
        stage=row.stage,
        metrics=row.metrics,
        parent=row.parent,
        at=row.at,
        is_loaded=row.version in parts.pool.state.models,
        problem=parts.pool.problems.get(row.version),
    )


def _key_values(row: Any) -> dict[str, Any]:
    return {name: getattr(row, name) for name in KeyEntry.model_fields}
