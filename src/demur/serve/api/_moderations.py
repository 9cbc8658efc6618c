"""``POST /v1/moderations`` in OpenAI's shape: their client works against it.

Categories are the threat labels of the loaded tasks, as ``task/label``; each task is given a text as what it
judges.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from demur.serve.api._ask import Question
from demur.serve.api._call import get_call
from demur.serve.api._classify import check_items, json_response
from demur.serve.api._errors import ApiError
from demur.serve.api._judge import judge
from demur.serve.api._keys import needs
from demur.serve.api._route import guard_router
from demur.serve.api._row import Told
from demur.serve.api._schemas import BODY_ERRORS, LIMIT, Text, error_responses
from demur.serve.api._warm import wait_until_warm
from demur.serve.pool import State, Texts

_ALIASES = ("omni-moderation", "text-moderation")
"""How names of OpenAI's own models begin: all tasks answer to them."""


class TextPart(BaseModel):
    """A part of one input."""

    type: Literal["text"]
    text: Text


class ModerationBody(BaseModel):
    """As OpenAI has it; keys that are not known are ignored, as there."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"input": "How do I keep bread fresh for a week?"}]})
    input: (
        Text
        | Annotated[list[Text], Field(min_length=1, json_schema_extra={LIMIT: "max_items"})]
        | Annotated[list[TextPart], Field(min_length=1, json_schema_extra={LIMIT: "max_items"})]
    ) = Field(description="A text, several, or one in parts.")
    model: Annotated[str, Field(max_length=256)] | None = Field(
        default=None, description="A task, a model, or a name of OpenAI's; null: all tasks."
    )


class ModerationResult(BaseModel):
    """What is said of one input."""

    flagged: bool
    categories: dict[str, bool]
    category_scores: dict[str, float]
    category_applied_input_types: dict[str, list[Literal["text"]]]


class ModerationAnswer(BaseModel):
    """As OpenAI has it."""

    id: str
    model: str
    results: list[ModerationResult]


def make_router() -> APIRouter:
    """The routes."""
    router = guard_router("/v1", ["compatible"], quick=True)
    router.add_api_route(
        "/moderations",
        moderate,
        methods=["POST"],
        response_model=ModerationAnswer,
        responses=BODY_ERRORS | error_responses(404),
        openapi_extra=needs("classify"),
        summary="Judge texts, in OpenAI's shape",
    )
    return router


async def moderate(body: ModerationBody, request: Request) -> Response:
    """Judge one text or several; a list of parts is one text."""
    parts = request.app.state.parts
    items = [Texts.plain(text) for text in _texts(body)]
    check_items(parts, items)
    await wait_until_warm(parts, get_call(request))  # a name is unknown only once everything is loaded
    tasks = pick_tasks(parts.pool.state, body.model)
    judged = await judge(parts, request, get_call(request), Question(items, tasks))
    names = dict.fromkeys(told.model.name for of_task in judged.items for told in of_task.values())
    results = [show_moderation(of_task) for of_task in judged.items]
    return json_response({"id": judged.id, "model": "+".join(names), "results": results})


def pick_tasks(state: State, model: str | None) -> list[str] | None:
    """The tasks that a name of a model stands for; None: all.

    Raises
    ------
    ApiError
        404; nothing is called so.
    """
    if model is None or model.startswith(_ALIASES):
        return None
    found = [task for task, one in state.champions.items() if model in (task, one.name, one.version)]
    if not found:
        raise ApiError(404, "no task and no model of that name is loaded; GET /v1/models lists them", "model")
    return found


def show_moderation(of_task: Mapping[str, Told]) -> dict[str, Any]:
    """One result: of a task that flags the text, its likeliest threat is the category."""
    categories: dict[str, bool] = {}
    scores: dict[str, float] = {}
    for name, told in of_task.items():
        threats = {label: told.verdict.probabilities[label] for label in told.task.threat_labels}
        worst = max(threats, key=lambda label: threats[label])
        for label, score in threats.items():
            categories[f"{name}/{label}"] = told.is_flagged and label == worst
            scores[f"{name}/{label}"] = score
    return {
        "flagged": any(told.is_flagged for told in of_task.values()),
        "categories": categories,
        "category_scores": scores,
        "category_applied_input_types": {name: ["text"] for name in categories},
    }


def _texts(body: ModerationBody) -> list[str]:
    if isinstance(body.input, str):
        return [body.input]
    if isinstance(body.input[0], str):
        return [one for one in body.input if isinstance(one, str)]
    return ["\n".join(part.text for part in body.input if isinstance(part, TextPart))]
