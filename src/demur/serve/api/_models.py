"""``GET /v1/models``: what is loaded, in OpenAI's shape with what a guard's caller needs beside it."""

from __future__ import annotations

from typing import Literal

from fastapi import APIRouter, Request
from pydantic import BaseModel, Field

from demur.serve.api._keys import needs
from demur.serve.api._route import guard_router
from demur.serve.api._schemas import READ_ERRORS


class ModelCard(BaseModel):
    """A task and the model that answers it."""

    id: str = Field(description="The task; what `model` may name in other requests.")
    object: Literal["model"] = "model"
    created: int = 0
    owned_by: Literal["demur"] = "demur"
    name: str = Field(description="Of the model.")
    version: str = Field(description="Fingerprint of the model.")
    runtime: str = Field(description="native, or the precision ONNX Runtime computes in.")
    labels: list[str]
    threat_labels: list[str]
    fields: list[str] = Field(description="Texts that the task reads.")
    thresholds: dict[str, float] = Field(description="Operating point to threshold.")


class ModelList(BaseModel):
    """All that is loaded."""

    object: Literal["list"] = "list"
    data: list[ModelCard]


def make_router() -> APIRouter:
    """The routes."""
    router = guard_router("/v1", ["guard"])
    router.add_api_route(
        "/models",
        list_models,
        methods=["GET"],
        response_model=ModelList,
        responses=READ_ERRORS,
        openapi_extra=needs("classify"),
        summary="List tasks and models",
    )
    return router


async def list_models(request: Request) -> ModelList:
    """List the loaded tasks, each with its champion."""
    state = request.app.state.parts.pool.state
    return ModelList(
        data=[
            ModelCard(
                id=name,
                name=state.champions[name].name,
                version=state.champions[name].version,
                runtime=state.champions[name].runtime,
                labels=list(task.labels),
                threat_labels=list(task.threat_labels),
                fields=list(task.fields),
                thresholds=state.champions[name].thresholds[name],
            )
            for name, task in state.tasks.items()
        ]
    )
