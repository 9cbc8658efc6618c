"""Bodies of requests and answers of the guard's own endpoints, as the OpenAPI page shows them."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints, model_validator

from demur.serve._identity import ANSWER_ID

LIMIT = "x-demur-limit"
"""Marks a schema whose bound is a limit of the configuration, by its name."""
Text = Annotated[str, Field(json_schema_extra={LIMIT: "max_chars"})]
TaskName = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,63}$")]


def _refuse_others(value: Any) -> Any:
    if isinstance(value, bool | str):
        raise ValueError("must be a number")
    return value


Number = BeforeValidator(_refuse_others)
"""Marks a field that takes a number as JSON has it, and neither true nor a text that looks like one."""
_PROMPT = "How do I keep bread fresh for a week?"
_RESPONSE = "I'm sorry, but I can't help with that."


class Body(BaseModel):
    """A body that knows its keys."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Item(Body):
    """What is judged: a prompt, a response to it, or both."""

    model_config = ConfigDict(
        json_schema_extra={
            "anyOf": [{"required": ["prompt"]}, {"required": ["response"]}],
            "examples": [{"prompt": _PROMPT, "response": _RESPONSE}],
        }
    )
    prompt: Text = Field(default="", description="What was asked.")
    response: Text = Field(default="", description="What a model answered.")
    id: Annotated[str, StringConstraints(max_length=128)] | None = Field(
        default=None, description="Given back with the result; not recorded."
    )

    @model_validator(mode="after")
    def _has_text(self) -> Self:
        if not self.model_fields_set & {"prompt", "response"}:
            raise ValueError("needs a prompt, a response, or both")
        return self

    def text(self, field: Literal["prompt", "response"]) -> str | None:
        """A text, or None where it was not given."""
        return getattr(self, field) if field in self.model_fields_set else None


Items = Annotated[list[Item], Field(min_length=1, json_schema_extra={LIMIT: "max_items"})]


class ClassifyBody(Body):
    """One item or several, and which tasks are asked."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"input": {"prompt": _PROMPT, "response": _RESPONSE}},
                {
                    "input": [{"id": "a", "prompt": _PROMPT}, {"id": "b", "response": _RESPONSE}],
                    "subject": "user-17",
                },
            ]
        }
    )
    input: Item | Items = Field(description="One item, or a list of them.")
    tasks: Annotated[list[TaskName], Field(min_length=1, max_length=64)] | None = Field(
        default=None, description="Which tasks are asked; null: all that are loaded."
    )
    subject: Annotated[str, StringConstraints(min_length=1, max_length=256)] | None = Field(
        default=None, description="The same subject sees the same arm of an experiment; only its hash is kept."
    )


class TaskResult(BaseModel):
    """What a task says of an item."""

    label: str = Field(description="The most probable label.")
    probabilities: dict[str, float] = Field(description="Of every label of the task; they sum to 1.")
    threat_score: float = Field(description="Sum of the probabilities of the labels that are a threat.")
    flagged: dict[str, bool] = Field(description="Operating point to whether the threat score is above it.")
    thresholds: dict[str, float] = Field(description="Operating point to its threshold.")
    unsure: bool | None = Field(description="Whether one label is not enough; null where the model cannot say.")
    model: str = Field(description="Name of the model.")
    version: str = Field(description="Fingerprint of the model.")
    arm: str | None = Field(default=None, description="Of an experiment, where one is on.")


class ItemResult(BaseModel):
    """What all tasks say of an item."""

    id: str | None = Field(default=None, description="As given.")
    tasks: dict[str, TaskResult] = Field(description="By the name of the task.")
    skipped: dict[str, str] = Field(description="Tasks that were not answered, and why.")


class ClassifyAnswer(BaseModel):
    """The answer to a request."""

    id: str = Field(description="Under which it is recorded; feedback names it.")
    results: list[ItemResult] = Field(description="One an item, in order.")
    latency_ms: float = Field(description="From the arrival of the request until its answer was recorded.")


class FeedbackBody(Body):
    """The true label of something that was answered earlier."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"id": "0193" + "0" * 40, "item": 0, "task": "refusal", "label": "hard_refusal"}]
        }
    )
    id: Annotated[str, StringConstraints(pattern=ANSWER_ID)] = Field(description="Of the answer.")
    item: Annotated[int, Number] = Field(
        default=0, ge=0, lt=2**31, description="Number of the item within its request, from 0."
    )
    task: TaskName = Field(description="The task.")
    label: Annotated[str, StringConstraints(min_length=1, max_length=128)] = Field(
        description="One of its labels."
    )
    source: Literal["user", "judge", "people"] = Field(
        default="user", description="Who says so; judge and people take a key that has the scope admin too."
    )
    note: Annotated[str, StringConstraints(max_length=2000)] | None = Field(
        default=None, description="Kept only where texts are logged in full."
    )


class FeedbackAnswer(BaseModel):
    """The feedback is recorded."""

    id: str = Field(description="Of the feedback.")
    accepted: Literal[True] = True


class ErrorDetail(BaseModel):
    """What went wrong."""

    type: str = Field(description="Kind of error, the same for the same status.")
    message: str = Field(description="What was found and what to do; never a text of a user.")
    param: str | None = Field(description="The key of the body that is at fault, if one is.")
    request_id: str = Field(description="Also in the header X-Request-Id and in the log.")


class ErrorBody(BaseModel):
    """Every answer that is no success."""

    error: ErrorDetail


def error_responses(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """What a route's ``responses`` say of these statuses."""
    words = {
        400: "The body is no sound JSON.",
        401: "No key, or one that is not known.",
        403: "The key has not the scope.",
        404: "There is no such thing.",
        405: "Another method.",
        408: "The body did not arrive in time.",
        409: "It is no longer as it was.",
        413: "The body is too large.",
        415: "The body is not JSON.",
        422: "The body does not fit its schema.",
        429: "Too many requests, or too many rows wait; see Retry-After.",
        503: "Not now; see Retry-After.",
        504: "Not in time.",
    }
    return {status: {"model": ErrorBody, "description": words[status]} for status in statuses}


BODY_ERRORS = error_responses(400, 401, 403, 408, 413, 415, 422, 429, 503, 504)
"""Of every route that takes a body."""
READ_ERRORS = error_responses(401, 403, 429, 503)
"""Of every route that takes a key and no body."""
