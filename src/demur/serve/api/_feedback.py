"""``POST /v1/feedback``: the true label of something that was answered earlier.

Whether an id was ever given out is told by its signature, so that feedback is taken while the database is down or
behind; where it has the answer, the item and the task must be among it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

from fastapi import APIRouter, Request, Response

from demur.errors import StoreUnavailableError
from demur.serve.api._call import Call, get_call
from demur.serve.api._classify import json_response
from demur.serve.api._errors import ApiError
from demur.serve.api._keys import needs
from demur.serve.api._parts import Parts
from demur.serve.api._route import guard_router
from demur.serve.api._schemas import BODY_ERRORS, FeedbackAnswer, FeedbackBody, error_responses
from demur.serve.api._warm import wait_until_warm

if TYPE_CHECKING:
    from demur.store import PredictionRow
_PATIENCE_S = 2.0
"""How long the database is waited for before it counts as one that does not answer."""
_TRUSTED = ("judge", "people")
"""Sources whose word outweighs that of users: only an administrator's key may speak for them."""


def make_router() -> APIRouter:
    """The routes."""
    router = guard_router("/v1", ["guard"], quick=True)
    router.add_api_route(
        "/feedback",
        give_feedback,
        methods=["POST"],
        response_model=FeedbackAnswer,
        responses=BODY_ERRORS | error_responses(404, 409),
        openapi_extra=needs("feedback"),
        summary="Say what was true",
    )
    return router


async def give_feedback(body: FeedbackBody, request: Request) -> Response:
    """Record the true label of an item that was answered earlier; several may speak of the same item.

    What `people` or a `judge` say decides against what users say, so it takes a key that has the scope admin too.
    """
    from demur.store import FeedbackRow

    parts, call = request.app.state.parts, get_call(request)
    if body.source in _TRUSTED and "admin" not in call.caller.scopes:
        raise ApiError(403, "feedback of people or a judge takes a key with the scope 'admin' too", "source")
    if parts.recorder.mode == "off":
        raise ApiError(409, "this server keeps no records, so there is nothing to give feedback on")
    if not parts.identity.is_answer_id(body.id):
        raise ApiError(404, "no answer has this id; give the id of an answer", "id")
    labels = await _find_labels(parts, call, body)
    if body.label not in labels:
        raise ApiError(422, f"the task has no such label (it has: {', '.join(labels)})", "label")
    call.answer_id = body.id
    row = FeedbackRow(
        request_id=body.id,
        item=body.item,
        task=body.task,
        label=body.label,
        source=body.source,
        key_id=call.caller.key_id,
        note=body.note if parts.config.text.log == "full" else None,
    )
    await parts.recorder.put("feedback", [row], "durable")
    return json_response({"id": row.id, "accepted": True})


async def _find_labels(parts: Parts, call: Call, body: FeedbackBody) -> Collection[str]:
    """The labels of the task, once the item is known to be one that it may have answered."""
    looking = asyncio.get_running_loop().run_in_executor(parts.readers, _find_answers, parts, body.id)
    done, _ = await asyncio.wait({looking}, timeout=_PATIENCE_S)
    answered = looking.result() if done else []
    looking.cancel()  # one that has not begun need not
    if answered:
        found = [row for row in answered if (row.item, row.task) == (body.item, body.task)]
        if not found:
            raise ApiError(404, "the answer has no such item, or the task did not answer it", "item")
        return list(found[0].probabilities)
    await wait_until_warm(parts, call)
    tasks = parts.pool.state.tasks
    if body.task not in tasks:
        raise ApiError(404, "the task is not loaded", "task")
    if body.item >= parts.config.limits.max_items:
        raise ApiError(404, "no request may have so many items", "item")
    return tasks[body.task].labels


def _find_answers(parts: Parts, id: str) -> Sequence[PredictionRow]:
    """What the database has of an answer; nothing where it is down or behind."""
    from demur.store import PredictionFilter

    try:
        return parts.store.predictions(where=PredictionFilter(request_id=id))
    except StoreUnavailableError:
        return []
