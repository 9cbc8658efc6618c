"""``POST /classify`` in vLLM's shape: one task on one text or several."""

from __future__ import annotations

import time
from typing import Annotated, Literal

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from demur.serve.api._ask import Question
from demur.serve.api._call import get_call
from demur.serve.api._classify import check_items, json_response
from demur.serve.api._errors import ApiError
from demur.serve.api._judge import judge
from demur.serve.api._keys import needs
from demur.serve.api._moderations import pick_tasks
from demur.serve.api._route import guard_router
from demur.serve.api._schemas import BODY_ERRORS, LIMIT, Text, error_responses
from demur.serve.api._warm import wait_until_warm
from demur.serve.pool import Texts


class VllmBody(BaseModel):
    """As vLLM has it; keys that are not known are ignored, as there."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"input": ["Here it is.", "I cannot help."]}]})
    input: Text | Annotated[list[Text], Field(min_length=1, json_schema_extra={LIMIT: "max_items"})] = Field(
        description="A text, or several."
    )
    model: Annotated[str, Field(max_length=256)] | None = Field(
        default=None, description="A task or a model; null: the first task that is loaded."
    )


class VllmRow(BaseModel):
    """What is said of one text."""

    index: int
    label: str
    probs: list[float] = Field(description="In the order of the task's labels; GET /v1/models lists them.")
    num_classes: int


class VllmUsage(BaseModel):
    """Tokens are not counted; always 0."""

    prompt_tokens: int
    total_tokens: int
    completion_tokens: int


class VllmAnswer(BaseModel):
    """As vLLM has it."""

    id: str
    object: Literal["list"]
    created: int
    model: str
    data: list[VllmRow]
    usage: VllmUsage


def make_router() -> APIRouter:
    """The routes."""
    router = guard_router("", ["compatible"], quick=True)
    router.add_api_route(
        "/classify",
        classify_texts,
        methods=["POST"],
        response_model=VllmAnswer,
        responses=BODY_ERRORS | error_responses(404),
        openapi_extra=needs("classify"),
        summary="Judge texts by one task, in vLLM's shape",
    )
    return router


async def classify_texts(body: VllmBody, request: Request) -> Response:
    """Judge one text or several by one task."""
    parts = request.app.state.parts
    items = [Texts.plain(text) for text in ([body.input] if isinstance(body.input, str) else body.input)]
    check_items(parts, items)
    await wait_until_warm(parts, get_call(request))  # a name is unknown only once everything is loaded
    tasks = pick_tasks(parts.pool.state, body.model)
    if tasks is None:
        tasks = list(parts.pool.state.champions)[:1]
    if len(tasks) > 1:
        raise ApiError(422, f"the model answers several tasks ({', '.join(tasks)}); name one as model", "model")
    judged = await judge(parts, request, get_call(request), Question(items, tasks or None))
    data, names = [], []
    for index, of_task in enumerate(judged.items):
        for told in of_task.values():
            probs = list(told.verdict.probabilities.values())
            data.append({"index": index, "label": told.verdict.label, "probs": probs, "num_classes": len(probs)})
            names.append(told.model.name)
    usage = {"prompt_tokens": 0, "total_tokens": 0, "completion_tokens": 0}
    told_of = {"id": judged.id, "object": "list", "created": int(time.time()), "model": names[0] if names else ""}
    return json_response(told_of | {"data": data, "usage": usage})
