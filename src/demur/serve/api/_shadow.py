"""Shadows: models that judge what another has answered; nobody is told, and nobody waits."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from demur.errors import DemurError
from demur.serve.api._ask import Question, new_job
from demur.serve.api._row import tell, to_row
from demur.serve.batching import QueueClosedError
from demur.serve.pool import Route, judged_field

if TYPE_CHECKING:
    from demur.serve.api._call import Call
    from demur.serve.api._parts import Parts
    from demur.serve.pool import Answer, ServedModel
    from demur.tasks import Task

_LOG = logging.getLogger("demur.serve.shadow")


def cast_shadows(
    parts: Parts, call: Call, question: Question, tasks: Mapping[str, Task], routes: Mapping[str, Route]
) -> None:
    """Let the shadows of every task judge, behind the answer; a version that is not loaded is passed over."""
    for name, route in routes.items():
        for shadow in route.shadows:
            model = parts.pool.state.find(name, shadow.version)
            if model.version == shadow.version:
                arm = Route(shadow.version, route.experiment, shadow.arm)
                parts.spawn(_judge_in_shadow(parts, call, question, tasks[name], (model, arm)))


async def _judge_in_shadow(
    parts: Parts, call: Call, question: Question, task: Task, arm: tuple[ServedModel, Route]
) -> None:
    """Let one model judge and record it; what is too much for it is left out and counted."""
    model, route = arm
    places = [place for place, item in enumerate(question.items) if item.answers(task)]
    rows = [question.items[place].given_to({judged_field(task)}) for place in places]
    loop = asyncio.get_running_loop()
    future: asyncio.Future[list[Answer]] = loop.create_future()
    started = time.monotonic()
    deadline = started + parts.config.limits.timeout_s
    try:
        model.submit(new_job(rows, deadline, loop, future))
        answers = await future
    except Exception as error:  # whatever a model raises: the request was answered by another
        if not isinstance(error, QueueClosedError):
            parts.router.failed(route.experiment, route.arm, len(places))
        if not isinstance(error, DemurError | TimeoutError):
            _LOG.warning(
                "version %s failed in the shadow of task '%s' (%s)", model.version, task.name, type(error).__name__
            )
        parts.metrics.recorded("shadow_left_out", len(places))
        return
    try:
        kept = []
        for place, answer in zip(places, answers, strict=True):
            told = tell(parts, task, model, route, answer[task.name])
            row = to_row(parts, call, place, told, question)
            kept.append(replace(row, is_shadow=True, latency_ms=1000 * (time.monotonic() - started), id=""))
            parts.metrics.judged(task.name, model.version, told.verdict.label, {}, is_shadow=True)
        await parts.recorder.put("predictions", kept, "off" if parts.recorder.mode == "off" else "best_effort")
    except DemurError:
        parts.metrics.recorded("shadow_left_out", len(places))
