import asyncio
import time

import pytest

from demur.serve.api import ApiError
from demur.serve.api._ask import Question, ask_models, new_job, plan, while_connected
from demur.serve.batching import QueueClosedError, QueueFullError
from demur.serve.pool import Texts

BOTH, PROMPT, RESPONSE = Texts("a", "I cannot help."), Texts("a"), Texts(response="Here it is.")


class Client:
    """A request whose client stays, or goes away after a while."""

    def __init__(self, stays_s=60.0):
        self.stays_s = stays_s

    async def receive(self):
        await asyncio.sleep(self.stays_s)
        return {"type": "http.disconnect"}


def ask(guard, items, tasks=None, versions=None, seconds=60.0):
    pool = guard.parts.pool
    wanted = pool.state.tasks if tasks is None else {name: pool.state.tasks[name] for name in tasks}
    work = ask_models(pool, Question(items), wanted, versions or {}, time.monotonic() + seconds)
    return guard.run(work)


def test_each_model_is_asked_only_of_the_items_it_can_judge(guard):
    found = ask(guard, [BOTH, PROMPT, RESPONSE])
    assert {one.tasks: one.places for one, _ in found} == {("refusal",): (0, 2), ("prompt_risk",): (0, 1)}
    answers = {one.tasks: answers for one, answers in found}
    assert [one["refusal"].label for one in answers[("refusal",)]] == ["hard_refusal", "no_refusal"]


def test_a_model_of_several_tasks_is_asked_once(make_guard, dual_folder):
    guard = make_guard([dual_folder])
    ((asked, answers),) = ask(guard, [BOTH])
    assert sorted(asked.tasks) == ["jailbreak", "refusal"]
    assert set(answers[0]) == {"refusal", "jailbreak"}


def test_nothing_is_asked_where_no_item_fits(guard):
    assert ask(guard, [PROMPT], tasks=["refusal"]) == []


def test_a_plain_text_is_given_as_what_is_judged(guard):
    state = guard.parts.pool.state
    plans = plan(guard.parts.pool, Question([Texts.plain("x")]), state.tasks, {})
    assert {one.tasks: one.rows[0] for one in plans} == {
        ("refusal",): Texts(response="x"),
        ("prompt_risk",): Texts("x"),
    }


def test_a_model_that_was_replaced_just_then_is_asked_again_by_its_successor(guard):
    model = guard.parts.pool.state.champions["refusal"]
    submit, tries = model.submit, []

    def closed_once(job):
        tries.append(job)
        if len(tries) == 1:
            raise QueueClosedError("replaced")
        submit(job)

    model.submit = closed_once
    ((_, answers),) = ask(guard, [BOTH], tasks=["refusal"])
    assert len(tries) == 2
    assert answers[0]["refusal"].label == "hard_refusal"


def test_models_that_are_for_ever_replaced_are_given_up(guard):
    def closed(job):
        raise QueueClosedError("replaced")

    guard.parts.pool.state.champions["refusal"].submit = closed
    with pytest.raises(ApiError, match="being exchanged") as caught:
        ask(guard, [BOTH])
    assert caught.value.status == 503


def test_a_full_queue_withdraws_what_was_asked_of_others(guard):
    jobs = []
    first, second = (guard.parts.pool.state.champions[name] for name in ("refusal", "prompt_risk"))
    submit = first.submit

    def note(job):
        jobs.append(job)
        submit(job)

    def full(job):
        raise QueueFullError(3, 2.0)

    first.submit, second.submit = note, full
    with pytest.raises(QueueFullError, match="3 rows wait already"):
        ask(guard, [BOTH])
    assert jobs[0].is_over


def test_a_deadline_that_passed_is_an_error(guard):
    with pytest.raises(TimeoutError, match="the deadline passed"):
        ask(guard, [BOTH], seconds=-1.0)


def test_a_job_that_nobody_waits_for_resolves_nothing():
    async def main():
        loop = asyncio.get_running_loop()
        future = loop.create_future()
        job = new_job([BOTH], time.monotonic() + 60, loop, future)
        future.cancel()
        job.settle([0], ["x"])
        await asyncio.sleep(0)
        return future.cancelled()

    assert asyncio.run(main())


# Clients


def test_work_that_ends_is_given_back():
    async def work(seconds):
        await asyncio.sleep(seconds)
        return "done"

    assert asyncio.run(while_connected(Client(), work(0))) == "done"
    assert asyncio.run(while_connected(Client(), work(0.2))) == "done"


def test_work_that_fails_fails():
    async def fail(seconds):
        await asyncio.sleep(seconds)
        raise ValueError("no")

    for seconds in (0, 0.2):
        with pytest.raises(ValueError, match="no"):
            asyncio.run(while_connected(Client(), fail(seconds)))


def test_work_is_given_up_when_its_client_goes_away():
    ended = []

    async def work():
        try:
            await asyncio.sleep(60)
        finally:
            ended.append(True)

    async def main():
        with pytest.raises(ApiError, match="went away"):
            await while_connected(Client(stays_s=0.01), work())
        await asyncio.sleep(0)

    asyncio.run(main())
    assert ended == [True]
