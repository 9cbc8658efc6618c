"""``POST /v1/classify``: every loaded task on one item or many."""

from __future__ import annotations

import json
from typing import Any

from fastapi import APIRouter, Request, Response

from demur.serve.api._ask import Question
from demur.serve.api._call import get_call
from demur.serve.api._errors import ApiError
from demur.serve.api._judge import judge
from demur.serve.api._keys import needs
from demur.serve.api._parts import Parts
from demur.serve.api._route import guard_router
from demur.serve.api._row import Told
from demur.serve.api._schemas import BODY_ERRORS, ClassifyAnswer, ClassifyBody, error_responses
from demur.serve.pool import Texts, judged_field
from demur.tasks import Task


def make_router() -> APIRouter:
    """The routes."""
    router = guard_router("/v1", ["guard"], quick=True)
    router.add_api_route(
        "/classify",
        classify,
        methods=["POST"],
        response_model=ClassifyAnswer,
        responses=BODY_ERRORS | error_responses(404),
        openapi_extra=needs("classify"),
        summary="Judge prompts and responses",
    )
    return router


async def classify(body: ClassifyBody, request: Request) -> Response:
    """Judge one item or several by every loaded task, or by those that are named.

    A task answers an item whose judged text is there: the response for tasks that read responses, else the prompt.
    Others are named under `skipped`.
    """
    parts, call = request.app.state.parts, get_call(request)
    listed = body.input if isinstance(body.input, list) else [body.input]
    items = [Texts(item.text("prompt"), item.text("response")) for item in listed]
    check_items(parts, items)
    subject = None if body.subject is None else parts.identity.hash_subject(body.subject)
    judged = await judge(parts, request, call, Question(items, body.tasks, subject))
    results = [
        {
            "id": item.id,
            "tasks": {name: show(told) for name, told in of_task.items()},
            "skipped": {name: why_skipped(task) for name, task in judged.tasks.items() if name not in of_task},
        }
        for item, of_task in zip(listed, judged.items, strict=True)
    ]
    return json_response({"id": judged.id, "results": results, "latency_ms": round(1000 * call.seconds, 3)})


def check_items(parts: Parts, items: list[Texts]) -> None:
    """Refuse more items, or longer texts, than are allowed.

    Raises
    ------
    ApiError
        422; send fewer or shorter ones.
    """
    limits = parts.config.limits
    if len(items) > limits.max_items:
        raise ApiError(422, f"{len(items)} items are more than {limits.max_items}; send them in parts", "input")
    longest = max((len(text or "") for item in items for text in (item.prompt, item.response)), default=0)
    if longest > limits.max_chars:
        raise ApiError(422, f"a text has {longest} characters, more than {limits.max_chars}; shorten it", "input")


def show(told: Told) -> dict[str, Any]:
    """What the caller is told of an item by one task."""
    verdict = told.verdict
    return {
        "label": verdict.label,
        "probabilities": verdict.probabilities,
        "threat_score": verdict.threat_score,
        "flagged": verdict.flagged,
        "thresholds": told.model.thresholds[told.task.name],
        "unsure": verdict.unsure,
        "model": told.model.name,
        "version": told.model.version,
        "arm": told.route.arm,
    }


def why_skipped(task: Task) -> str:
    """Why a task did not answer an item."""
    return f"it judges the {judged_field(task)}, which the item has not"


def json_response(value: Any, status: int = 200) -> Response:
    """A value as JSON, without NaN."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return Response(text.encode(), status, media_type="application/json")
