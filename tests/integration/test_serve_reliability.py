"""What was answered is recorded once, whatever is killed meanwhile; nothing that was begun is dropped."""

import asyncio
import os
import signal

import pytest
from tests.integration.guards import ITEM, Load, RunningGuard, check_recorded_once

pytestmark = pytest.mark.slow


@pytest.fixture
def guard(tmp_path, monkeypatch):
    from demur.models.rules import RulesClassifier
    from demur.tasks import PROMPT_RISK, REFUSAL

    (tmp_path / "tmp").mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path / "tmp"))
    RulesClassifier(REFUSAL).save(tmp_path / "refusal")
    RulesClassifier(PROMPT_RISK).save(tmp_path / "risk")
    running = RunningGuard(tmp_path, [tmp_path / "refusal", tmp_path / "risk"])
    yield running
    running.kill()


def test_a_server_that_is_told_to_end_under_load_drops_nothing(guard):
    load = Load(guard)

    async def end():
        await load.until_answered(50)
        guard.process.send_signal(signal.SIGTERM)
        await asyncio.to_thread(guard.process.wait, 600)

    asyncio.run(load.run(end()))
    assert guard.process.returncode == 0
    assert set(load.statuses) == {200}
    assert len(load.answered) >= 50
    check_recorded_once(guard, load.answered)
    assert list((guard.folder / "spool").glob("*.spool")) == []


def test_workers_that_are_killed_under_load_are_back_and_nothing_is_lost_or_twice(guard):
    load = Load(guard)

    async def kill():
        for _ in range(3):
            await load.until_answered(30)
            before = guard.workers()
            os.kill(before[0], signal.SIGKILL)
            while before[0] in guard.workers() or len(guard.workers()) < 2:
                await asyncio.sleep(0.05)
        await load.until_answered(30)

    asyncio.run(load.run(kill()))
    assert guard.stop() == 0
    assert set(load.statuses) == {200}
    check_recorded_once(guard, load.answered)


def test_a_supervisor_that_is_killed_takes_its_workers_with_it_and_what_they_answered_is_recorded(guard):
    load = Load(guard)

    async def kill():
        await load.until_answered(30)
        workers = guard.workers()
        guard.process.kill()
        await asyncio.to_thread(guard.process.wait, 60)
        while any(os.path.exists(f"/proc/{one}") for one in workers):
            await asyncio.sleep(0.05)

    asyncio.run(load.run(kill()))
    assert list((guard.folder / "tmp").iterdir()) == []
    guard.start()
    guard.stop()
    check_recorded_once(guard, load.answered)
    assert list((guard.folder / "tmp").iterdir()) == []


def test_a_worker_that_begins_while_the_database_is_down_lets_in_whom_the_one_before_knew(
    tmp_path, postgres_server, postgres
):
    from demur.models.rules import RulesClassifier
    from demur.tasks import REFUSAL

    RulesClassifier(REFUSAL).save(tmp_path / "refusal")
    guard = RunningGuard(tmp_path, [tmp_path / "refusal"], workers=1, database={"url": postgres})
    try:
        with guard.client() as client:
            answered = [client.post("/v1/classify", json={"input": [ITEM, ITEM]}).json()["id"]]
            postgres_server.stop("immediate")
            (before,) = guard.workers()
            os.kill(before, signal.SIGKILL)
            guard.wait_until(lambda: guard.workers() not in ([], [before]), "no worker came back")
        with guard.client() as client:
            answer = client.post("/v1/classify", json={"input": [ITEM, ITEM]})
            assert answer.status_code == 200, answer.text
            answered.append(answer.json()["id"])
            refused = client.post(
                "/v1/classify", json={"input": ITEM}, headers={"Authorization": "Bearer demur_a_b"}
            )
            assert refused.status_code == 401
        postgres_server.start()
        assert guard.stop() == 0
        check_recorded_once(guard, answered, ["refusal"])
    finally:
        guard.kill()


def test_a_restart_of_all_workers_drops_nothing(guard):
    load = Load(guard)

    async def restart():
        before = set(guard.workers())
        guard.process.send_signal(signal.SIGHUP)
        while before & set(guard.workers()) or len(guard.workers()) < 2:
            await asyncio.sleep(0.05)
        await load.until_answered(30)

    asyncio.run(load.run(restart()))
    assert guard.stop() == 0
    assert set(load.statuses) == {200}
    check_recorded_once(guard, load.answered)


def test_a_model_is_exchanged_under_load_and_no_request_dropped(guard):
    from demur.models.rules import RulesClassifier, RulesConfig
    from demur.serve.pool import find_models
    from demur.tasks import REFUSAL

    RulesClassifier(REFUSAL, RulesConfig(confidence=0.8)).save(guard.folder / "other")
    (other,) = find_models([guard.folder / "other"])
    load = Load(guard)

    def promote():
        with guard.client() as client:
            client.post("/admin/models", json={"folder": str(guard.folder / "other")}).raise_for_status()
            path = f"/admin/models/refusal/{other.version}/stage"
            client.post(path, json={"stage": "champion"}).raise_for_status()

    async def exchange():
        await load.until_answered(20)
        await asyncio.to_thread(promote)
        with guard.client() as client:
            seen = set()
            while seen != {other.version}:
                await asyncio.sleep(0.2)
                answers = [client.post("/v1/classify", json={"input": {"response": "a"}}) for _ in range(5)]
                seen = {one.json()["results"][0]["tasks"]["refusal"]["version"] for one in answers}
        await load.until_answered(20)

    asyncio.run(load.run(exchange()))
    assert guard.stop() == 0
    assert set(load.statuses) == {200}
    check_recorded_once(guard, load.answered)
