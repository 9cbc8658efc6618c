import asyncio

import pytest

from demur.serve.pool import Route, Shadow, find_models

ITEM = {"prompt": "How do I keep bread fresh?", "response": "I'm sorry, but I can't help with that."}


class Shadows:
    def __init__(self, *shadows):
        self.shadows, self.failures = shadows, []

    def refresh(self):
        pass

    def wanted(self):
        return ()

    def route(self, task, subject):
        return Route(None, "experiment", "a", self.shadows) if task == "refusal" else Route()

    def failed(self, experiment, arm, count=1):
        self.failures.append((experiment, arm, count))


@pytest.fixture
def shadowed(make_guard, rules_folder, risk_folder, ready_folder):
    """A guard with a model beside the champion, and that model's version."""
    guard = make_guard([rules_folder, risk_folder])
    (other,) = find_models([ready_folder])
    guard.parts.pool.update(guard.parts.store.models(stage="champion"), [other])
    guard.parts.router = Shadows(Shadow(other.version, "b"))
    return guard, other.version


def ask(guard):
    answer = guard.ask("POST", "/v1/classify", json={"input": [ITEM, {"prompt": "x"}, ITEM]})
    guard.run(settle(guard.parts))
    return answer


async def settle(parts):
    while parts.background:
        await asyncio.gather(*parts.background)  # lets the loop go on, also where all have ended
    await parts.recorder.flush()


def test_a_shadow_judges_the_same_items_and_nobody_is_told(shadowed):
    guard, other = shadowed
    answer = ask(guard)
    assert other not in answer.text
    rows = [row for row in guard.rows() if row.task == "refusal"]
    told, shadow = ([row for row in rows if row.is_shadow is kind] for kind in (False, True))
    assert [(row.item, row.arm) for row in told] == [(0, "a"), (2, "a")]
    assert [(row.item, row.arm, row.version) for row in shadow] == [(0, "b", other), (2, "b", other)]
    assert {row.request_id for row in rows} == {answer.json()["id"]}
    assert len({row.id for row in rows}) == 4


def test_a_shadow_that_is_not_loaded_is_passed_over(shadowed):
    guard, _ = shadowed
    guard.parts.router = Shadows(Shadow("f" * 64, "b"))
    assert ask(guard).status_code == 200
    assert not any(row.is_shadow for row in guard.rows())


def test_a_shadow_with_too_much_to_do_costs_no_answer(shadowed):
    guard, other = shadowed

    def refuse(job):
        from demur.serve.batching import QueueFullError

        raise QueueFullError(1, 1.0)

    guard.parts.pool.state.models[other].submit = refuse
    assert ask(guard).status_code == 200
    assert not any(row.is_shadow for row in guard.rows())
    assert 'demur_records_total{result="shadow_left_out"} 2.0' in guard.parts.metrics.show().decode()
    assert guard.parts.router.failures == [("experiment", "b", 2)]


def test_what_a_shadow_fails_at_counts_against_its_arm_and_names_no_text(shadowed, caplog):
    guard, other = shadowed

    def fail(rows):
        raise RuntimeError(f"cannot judge {rows[0].response}")

    guard.parts.pool.state.models[other]._batcher._judge = fail
    assert ask(guard).status_code == 200
    assert guard.parts.router.failures == [("experiment", "b", 2)]
    assert "failed in the shadow of task 'refusal' (RuntimeError)" in caplog.text
    assert ITEM["response"] not in caplog.text


def test_a_shadow_that_was_replaced_just_then_has_not_failed(shadowed):
    guard, other = shadowed
    guard.parts.pool.state.models[other]._batcher.close()
    assert ask(guard).status_code == 200
    assert guard.parts.router.failures == []


def test_shadows_leave_nothing_where_records_are_off(make_guard, rules_folder, ready_folder):
    guard = make_guard([rules_folder], records="off")
    (other,) = find_models([ready_folder])
    guard.parts.pool.update(guard.parts.store.models(stage="champion"), [other])
    guard.parts.router = Shadows(Shadow(other.version, "b"))
    ask(guard)
    assert guard.rows() == []
