"""From the items of a request to recorded answers: who answers, asking them, writing down what they said."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from demur.serve.api._ask import Asked, Question, ask_models, while_connected
from demur.serve.api._errors import ApiError
from demur.serve.api._row import Told, tell, to_row
from demur.serve.api._shadow import cast_shadows
from demur.serve.api._warm import wait_until_warm
from demur.serve.pool import Route

if TYPE_CHECKING:
    from starlette.requests import Request

    from demur.serve.api._call import Call
    from demur.serve.api._parts import Parts
    from demur.serve.pool import ServedModel
    from demur.tasks import Task


@dataclass
class Judged:
    """The answers to a request."""

    id: str
    items: list[dict[str, Told]] = field(default_factory=list)
    """For each item, by task; a task whose text the item lacks is not there."""
    tasks: Mapping[str, Task] = field(default_factory=dict)


async def judge(parts: Parts, request: Request, call: Call, question: Question) -> Judged:
    """Judge items and record the answers; when this comes back, they may be told.

    Raises
    ------
    ApiError
        A task is not loaded (404), no model is ready in time (503), or the client went away (400).
    QueueFullError
        Too many rows wait.
    SpoolFullError, StorageError
        The answers cannot be recorded and must be.
    """
    await wait_until_warm(parts, call)
    state = parts.pool.state
    tasks = _pick_tasks(state.tasks, question.tasks)
    routes = {name: parts.router.route(name, question.subject) for name in tasks}
    versions = {name: route.version for name, route in routes.items()}

    def blame(asked: Asked) -> None:
        for name in asked.tasks:
            route = _true_route(routes[name], asked.model)
            parts.router.failed(route.experiment, route.arm, len(asked.places))

    asking = ask_models(parts.pool, question, tasks, versions, call.deadline, blame)
    found = await while_connected(request, asking)
    call.answer_id = parts.identity.new_answer_id(call.given_id)
    if call.given_id is None:  # one id is enough where the caller has none
        call.request_id = call.answer_id
    call.items = len(question.items)
    judged = Judged(call.answer_id, [{} for _ in question.items], tasks)
    for asked, answers in found:
        for name in asked.tasks:
            route = _true_route(routes[name], asked.model)
            for place, answer in zip(asked.places, answers, strict=True):
                if question.items[place].answers(tasks[name]):
                    judged.items[place][name] = tell(parts, tasks[name], asked.model, route, answer[name])
    rows = [
        to_row(parts, call, place, told, question)
        for place, of_task in enumerate(judged.items)
        for told in of_task.values()
    ]
    await parts.recorder.put("predictions", rows)
    _count(parts, judged)
    cast_shadows(parts, call, question, tasks, routes)
    for observer in parts.observers:
        observer(rows, question.items)
    return judged


def _pick_tasks(loaded: Mapping[str, Task], wanted: Sequence[str] | None) -> dict[str, Task]:
    if wanted is None:
        return dict(loaded)
    if any(name not in loaded for name in wanted):
        raise ApiError(404, f"a task that was asked for is not loaded (loaded: {', '.join(loaded)})", "tasks")
    return {name: loaded[name] for name in wanted}


def _true_route(route: Route, model: ServedModel) -> Route:
    """The route, outside of any experiment where another model than that of its arm answered."""
    return route if route.version in (None, model.version) else Route(shadows=route.shadows)


def _count(parts: Parts, judged: Judged) -> None:
    for of_task in judged.items:
        for told in of_task.values():
            parts.metrics.judged(
                told.task.name, told.model.version, told.verdict.label, told.verdict.flagged, is_shadow=False
            )
