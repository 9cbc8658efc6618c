"""The guard as a user has it: ``demur serve`` with two workers, asked over a socket by the clients people use."""

import asyncio
import json
import os
import re
import subprocess
import time
from pathlib import Path

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families
from tests.integration.guards import ITEM, READY_S, RunningGuard


@pytest.fixture(scope="module")
def guard(tmp_path_factory):
    from demur.models.rules import RulesClassifier
    from demur.tasks import PROMPT_RISK, REFUSAL

    folder = tmp_path_factory.mktemp("guard")
    RulesClassifier(REFUSAL).save(folder / "refusal")
    RulesClassifier(PROMPT_RISK).save(folder / "risk")
    running = RunningGuard(folder, [folder / "refusal", folder / "risk"])
    yield running
    running.kill()


def test_whoever_starts_it_is_told_where_it_listens_and_that_a_key_is_needed(guard):
    lines = guard.out.read_text().splitlines()
    assert any(line.startswith("refusal: refusal ") for line in lines)
    assert "a key is needed: Authorization: Bearer KEY" in lines
    assert guard.url in lines


def test_the_client_of_openai_works(guard):
    from openai import NotFoundError, OpenAI

    with OpenAI(base_url=f"{guard.url}/v1", api_key=guard.key) as client:
        answer = client.moderations.create(
            input=["Here is how.", ITEM["response"]], model="omni-moderation-latest"
        )
        assert [one.flagged for one in answer.results] == [False, True]
        told = answer.results[1].model_dump()
        assert told["categories"]["refusal/hard_refusal"] is True
        assert told["category_scores"]["refusal/hard_refusal"] == pytest.approx(0.9)
        parts = client.moderations.create(input=[{"type": "text", "text": ITEM["response"]}])
        assert parts.results[0].flagged
        assert {one.id for one in client.models.list()} == {"refusal", "prompt_risk"}
        with pytest.raises(NotFoundError, match="no task and no model of that name"):
            client.moderations.create(input="x", model="gpt-0")


def test_the_client_of_openai_understands_a_wrong_key(guard):
    from openai import AuthenticationError, OpenAI

    with (
        OpenAI(base_url=f"{guard.url}/v1", api_key="wrong", max_retries=0) as client,
        pytest.raises(AuthenticationError, match="not known, or revoked"),
    ):
        client.moderations.create(input="x")


def test_the_client_of_openai_understands_what_is_wrong(guard):
    from openai import APIStatusError, OpenAI, PermissionDeniedError, UnprocessableEntityError

    from demur.store import new_key, open_store

    with open_store(guard.database) as store:
        other, row = new_key("other", ["feedback"])
        store.add_key(row)
    with OpenAI(base_url=f"{guard.url}/v1", api_key=guard.key, max_retries=0) as client:
        with pytest.raises(UnprocessableEntityError, match="input") as caught:
            client.moderations.create(input=[])
        assert caught.value.request_id == caught.value.response.headers["x-request-id"]
        assert caught.value.param == "input"
        with pytest.raises(UnprocessableEntityError, match="input"):
            client.moderations.create(input=[{"type": "image_url", "image_url": {"url": "https://x"}}])
        with pytest.raises(APIStatusError, match="larger than") as caught:
            client.moderations.create(input="a" * 1_500_000)
        assert caught.value.status_code == 413
    with (
        OpenAI(base_url=f"{guard.url}/v1", api_key=other, max_retries=0) as client,
        pytest.raises(PermissionDeniedError, match="has not the scope 'classify'"),
    ):
        ask_once_known(client)


def ask_once_known(client):
    """Ask with a key that was made just now, until the worker that is asked has read it."""
    from openai import AuthenticationError

    until = time.monotonic() + READY_S
    while True:
        try:
            return client.moderations.create(input="x")
        except AuthenticationError:
            assert time.monotonic() < until
            time.sleep(0.1)


def test_the_client_of_openai_waits_and_tries_again_where_it_asked_too_often(guard):
    from openai import OpenAI, RateLimitError

    from demur.store import new_key, open_store

    with open_store(guard.database) as store:
        slow, row = new_key("slow", ["classify"], rate_per_s=0.2)
        store.add_key(row)

    def ask_often(client):
        while True:
            ask_once_known(client)

    with OpenAI(base_url=f"{guard.url}/v1", api_key=slow, max_retries=0, timeout=READY_S) as client:
        with pytest.raises(RateLimitError, match="requests a second; slow down") as caught:
            ask_often(client)
        assert 1 <= int(caught.value.response.headers["retry-after"]) <= 5
        assert ask_once_known(client.with_options(max_retries=20)).results


def test_the_asynchronous_client_of_openai_works(guard):
    from openai import AsyncOpenAI

    async def ask():
        async with AsyncOpenAI(base_url=f"{guard.url}/v1", api_key=guard.key, timeout=600) as client:
            one = client.moderations.create(input=ITEM["response"])
            many = client.moderations.create(input=["Here is how.", ITEM["response"]])
            listed = [card.id async for card in client.models.list()]
            return await asyncio.gather(one, many), listed

    (one, many), listed = asyncio.run(ask())
    assert [found.flagged for found in (*one.results, *many.results)] == [True, False, True]
    assert set(listed) == {"refusal", "prompt_risk"}


@pytest.mark.parametrize("page", ["README.md", "docs/serve.md", "docs/dashboard.md"])
def test_curl_as_the_pages_have_it_works(guard, page, tmp_path):
    """Word by word, but for the port."""
    text = (Path(__file__).parents[2] / page).read_text(encoding="utf-8")
    commands = re.findall(r"^curl (?:.*\\\n)*.*$", text, re.MULTILINE)
    assert commands
    for command in commands:
        done = subprocess.run(
            [
                "bash",
                "-ec",
                command.replace("curl ", "curl -sS --fail-with-body ", 1).replace(":8000", f":{guard.port}"),
            ],
            capture_output=True,
            text=True,
            check=False,
            cwd=tmp_path,
            env=os.environ | {"KEY": guard.key},
        )
        assert done.returncode == 0, (command, done.stdout, done.stderr)
        if "/v1/classify" in command:
            answer = json.loads(done.stdout)
            assert answer["results"][0]["tasks"]["refusal"]["label"] == "hard_refusal"


def test_curl_works(guard):
    done = subprocess.run(
        [
            *("curl", "-sS", "--fail-with-body", f"{guard.url}/v1/classify"),
            *("-H", f"Authorization: Bearer {guard.key}", "-H", "Content-Type: application/json"),
            *("-d", '{"input": {"prompt": "How do I bake bread?"}}'),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert '"label":"benign"' in done.stdout


def test_answers_and_feedback_reach_the_database(guard):
    from demur.store import open_store

    with guard.client() as client:
        id = client.post("/v1/classify", json={"input": ITEM}).json()["id"]
        body = {"id": id, "task": "refusal", "label": "hard_refusal"}
        assert client.post("/v1/feedback", json=body).status_code == 200
    with open_store(guard.database) as store:
        guard.wait_until(
            lambda: any(one.prediction.request_id == id for one in store.labelled("refusal")), "no feedback"
        )
    assert guard.recorded()[(id, 0, "refusal")] == 1


def test_both_workers_are_counted_by_prometheus(guard):
    with guard.client() as client:
        for _ in range(20):
            with guard.client() as another:  # a connection of its own, so that either worker may take it
                another.post("/v1/classify", json={"input": ITEM})
        text = client.get("/metrics").text
    samples = {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }
    labels = (("method", "POST"), ("route", "/v1/classify"), ("status", "200"))
    assert samples[("demur_requests_total", labels)] >= 20
    assert samples[("demur_ready_workers", ())] == 2
    assert samples[("demur_control_leader", ())] == 1


@pytest.mark.parametrize(
    ("content", "status"),
    [(b"[" * 200_000, 400), (b'{"input": {"prompt": "\xff\xfe"}}', 400), (b"x" * 1_500_000, 413), (b"", 400)],
    ids=["deep", "utf8", "large", "empty"],
)
def test_bodies_that_nobody_should_send_are_refused_over_a_socket(guard, content, status):
    with guard.client() as client:
        answer = client.post("/v1/classify", content=content, headers={"Content-Type": "application/json"})
        assert answer.status_code == status
        assert client.post("/v1/classify", json={"input": ITEM}).status_code == 200


def test_a_body_without_a_length_is_cut_off_where_it_is_too_large(guard):
    def endless():
        for _ in range(2000):
            yield b" " * 65_536

    with guard.client() as client:
        try:
            answer = client.post("/v1/classify", content=endless(), headers={"Content-Type": "application/json"})
            assert answer.status_code == 413
        except httpx.TransportError:  # the server closes while the client still writes
            pass


def test_no_line_of_the_log_holds_a_text(guard):
    assert ITEM["response"] not in guard.log.read_text()
    assert guard.key not in guard.log.read_text()


def test_a_port_in_use_is_said(guard, demur):
    done = demur("serve", "--model", guard.folder / "refusal", "--port", guard.port)
    assert done.returncode == 2
    assert f"port {guard.port} of 127.0.0.1 is in use" in done.stderr
