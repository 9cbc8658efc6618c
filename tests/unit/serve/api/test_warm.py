import asyncio

import pytest

NAMED = [
    ("/v1/moderations", {"input": "a", "model": "refusal"}),
    ("/classify", {"input": "a", "model": "refusal"}),
    ("/v1/classify", {"input": {"response": "a"}, "tasks": ["refusal"]}),
]


@pytest.fixture
def cold(make_guard):
    """A guard that knows of no model yet."""
    from demur.serve.pool import State

    guard = make_guard(limits={"timeout_s": 0.5})
    guard.loaded = guard.parts.pool.state
    guard.parts.pool.state = State({}, {})
    guard.parts.warm.clear()
    yield guard
    guard.parts.pool.state = guard.loaded


@pytest.mark.parametrize(("path", "body"), NAMED)
def test_a_name_is_not_called_unknown_before_the_models_are_loaded(cold, error_of, path, body):
    error_of(cold.ask("POST", path, json=body), 503)


@pytest.mark.parametrize(("path", "body"), NAMED)
def test_a_request_that_comes_while_models_load_is_answered_once_they_are_there(cold, path, body):
    async def load():
        await asyncio.sleep(0.05)
        cold.parts.pool.state = cold.loaded
        cold.parts.warm.set()

    async def ask():
        loading = asyncio.create_task(load())
        answer = await cold._send("POST", path, {"Authorization": f"Bearer {cold.keys['all']}"}, {"json": body})
        await loading
        return answer

    assert cold.run(ask()).status_code == 200


def test_feedback_on_a_task_that_is_not_loaded_yet_waits_too(cold, error_of):
    id = cold.parts.identity.new_answer_id(None)
    body = {"id": id, "task": "refusal", "label": "hard_refusal"}
    error_of(cold.ask("POST", "/v1/feedback", json=body), 503)
    cold.parts.pool.state = cold.loaded
    cold.parts.warm.set()
    assert cold.ask("POST", "/v1/feedback", json=body).status_code == 200
