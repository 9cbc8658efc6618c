"""Asking models: which ones, of which items, all at once, for as long as somebody waits for the answer."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from demur.serve.api._errors import ApiError
from demur.serve.batching import Job, QueueClosedError
from demur.serve.pool import Texts, judged_field

if TYPE_CHECKING:
    from starlette.requests import Request

    from demur.serve.pool import Answer, Pool, ServedModel
    from demur.tasks import Task

_LOOK_S = 0.05
"""How long an answer may take before it is looked whether its client is still there."""
_TRIES = 5


@dataclass(frozen=True)
class Question:
    """What is asked of the models."""

    items: Sequence[Texts]
    tasks: Sequence[str] | None = None
    """None: all that are loaded."""
    subject: str | None = None
    """Hash of the caller's sticky key."""


@dataclass(frozen=True)
class Asked:
    """One model, the tasks it answers here, and the items it is given, with their places."""

    model: ServedModel
    tasks: tuple[str, ...]
    places: tuple[int, ...]
    rows: tuple[Texts, ...]


async def ask_models(
    pool: Pool,
    question: Question,
    tasks: Mapping[str, Task],
    versions: Mapping[str, str | None],
    deadline: float,
    blame: Callable[[Asked], None] = lambda asked: None,
) -> list[tuple[Asked, list[Answer]]]:
    """Ask every model that is needed, all at once; again where one was replaced just then.

    Parameters
    ----------
    versions
        Task to the version that answers it; None: the champion.
    deadline
        By ``time.monotonic``.
    blame
        Called with what a model was asked and failed to answer: it raised, was too slow, or has too much to do.

    Raises
    ------
    QueueFullError
        Too many rows wait for one of them; no other is asked then.
    ApiError
        Models are exchanged faster than they can be asked (503).
    TimeoutError
        The deadline passed.
    """
    loop = asyncio.get_running_loop()
    for _ in range(_TRIES):
        asked = plan(pool, question, tasks, versions)
        jobs: list[Job] = []
        waiting: list[asyncio.Future[list[Answer]]] = []
        found: list[tuple[Asked, list[Answer]]] = []
        one = None
        try:
            for one in asked:
                future: asyncio.Future[list[Answer]] = loop.create_future()
                job = new_job(one.rows, deadline, loop, future)
                one.model.submit(job)
                jobs.append(job)
                waiting.append(future)
            for one, future in zip(asked, waiting, strict=True):
                found.append((one, await future))
            return found
        except QueueClosedError:
            continue
        except Exception:
            if one is not None:
                blame(one)
            raise
        finally:
            for job in jobs:
                job.cancel()  # does nothing to those that have ended
            for future in waiting:
                if future.done() and not future.cancelled():
                    future.exception()  # of several that failed only the first is told
    raise ApiError(503, "the models are being exchanged; try again", headers={"Retry-After": "1"})


def plan(
    pool: Pool, question: Question, tasks: Mapping[str, Task], versions: Mapping[str, str | None]
) -> list[Asked]:
    """Which models are asked, of what and for which items: one that answers several tasks is asked once."""
    state = pool.state
    of_model: dict[str, tuple[ServedModel, list[str]]] = {}
    for name in tasks:
        if name in state.champions:
            model = state.find(name, versions.get(name))
            of_model.setdefault(model.version, (model, []))[1].append(name)
    plans = []
    for model, names in of_model.values():
        fields = {judged_field(tasks[name]) for name in names}
        places = [
            place
            for place, item in enumerate(question.items)
            if any(getattr(item, one) is not None for one in fields)
        ]
        if places:
            rows = tuple(question.items[place].given_to(fields) for place in places)
            plans.append(Asked(model, tuple(names), tuple(places), rows))
    return plans


def new_job(
    rows: Sequence[Texts],
    deadline: float,
    loop: asyncio.AbstractEventLoop,
    future: asyncio.Future[list[Answer]],
) -> Job:
    """A job for rows, whose end resolves a future of the loop."""

    def resolve(job: Job) -> None:
        if future.done():
            return
        if job.error is not None:
            future.set_exception(job.error)
        else:
            future.set_result(job.answers)

    def tell(job: Job) -> None:
        loop.call_soon_threadsafe(resolve, job)

    return Job(rows, [row.length for row in rows], deadline, tell)


async def while_connected(request: Request, work: Any) -> Any:
    """Wait for work; give it up when its client has gone away.

    Raises
    ------
    ApiError
        It went away.
    """
    task = asyncio.ensure_future(work)
    try:
        done, _ = await asyncio.wait({task}, timeout=_LOOK_S)
        if done:
            return task.result()
        gone = asyncio.ensure_future(_wait_for_disconnect(request))
        try:
            await asyncio.wait({task, gone}, return_when=asyncio.FIRST_COMPLETED)
            if task.done():
                return task.result()
            raise ApiError(400, "the client went away before its answer was there")
        finally:
            gone.cancel()
    finally:
        task.cancel()


async def _wait_for_disconnect(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
