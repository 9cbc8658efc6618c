"""Mixed traffic at a fixed rate, and an account of what was answered. See README.md.

Requests leave when their time has come, whether earlier ones were answered or not, and their latency counts from
then. An answer is noted only once its whole body was read.
"""

from __future__ import annotations

import asyncio
import json
import random
import time
import uuid
from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

LABELS = {
    "refusal": ("no_refusal", "soft_refusal", "hard_refusal"),
    "prompt_risk": ("benign", "suspicious", "malicious"),
}
TIMEOUT_S = 20.0
MOST_AT_ONCE = 1000
KINDS = {"one": 42, "many": 18, "moderations": 14, "vllm": 6, "feedback": 12, "bad": 8}


@dataclass(frozen=True)
class Ask:
    """One request."""

    kind: str
    path: str
    body: bytes
    key: str
    given_id: str | None = None
    note: Any = None
    """Of feedback: what it is about, and what it says."""

    def as_bytes(self) -> bytes:
        head = f"POST {self.path} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
        head += f"Authorization: Bearer {self.key}\r\nContent-Length: {len(self.body)}\r\n"
        head += f"X-Request-Id: {self.given_id}\r\n" if self.given_id else ""
        return head.encode() + b"\r\n" + self.body


@dataclass
class Account:
    """What the client saw."""

    sent: int = 0
    not_sent: int = 0
    """Left out, since too many were under way."""
    statuses: dict[str, Counter[str]] = field(default_factory=dict)
    """Kind of request to status or fault to number."""
    answers: dict[str, dict[tuple[int, str], str | None]] = field(default_factory=dict)
    """Id of an answer to item and task to label; None where the answer does not say it."""
    given: dict[str, str] = field(default_factory=dict)
    """Id of an answer to the id that the caller gave."""
    feedback: dict[str, tuple[str, int, str, str]] = field(default_factory=dict)
    """Id of feedback to answer, item, task and label."""
    latencies: list[float] = field(default_factory=list)
    answered_at: list[float] = field(default_factory=list)
    """Seconds since the first request was due."""
    ended_at: float = 0.0
    """When the last request had been sent, as of ``answered_at``."""

    @property
    def unanswered(self) -> int:
        """Requests whose connection broke or that took too long."""
        return sum(n for seen in self.statuses.values() for name, n in seen.items() if not name.isdecimal())


class Client:
    """Connections that are kept; a request that fails is not repeated."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._free: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []

    async def ask(self, request: bytes) -> tuple[str, bytes]:
        """Status and body; else the fault, and nothing."""
        pair = None
        try:
            async with asyncio.timeout(TIMEOUT_S):
                pair = await self._connect()
                status, body, is_kept = await exchange(*pair, request)
                if is_kept:
                    self._free.append(pair)
                    pair = None
                return status, body
        except ConnectionRefusedError:
            return "refused", b""
        except TimeoutError:
            return "no answer in time", b""
        except (OSError, asyncio.IncompleteReadError):
            return "connection broken", b""
        finally:
            if pair is not None:
                pair[1].close()

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        while self._free:
            reader, writer = self._free.pop()
            if not reader.at_eof() and not writer.is_closing() and reader.exception() is None:
                return reader, writer
            writer.close()
        return await asyncio.open_connection("127.0.0.1", self._port)

    def close(self) -> None:
        for _, writer in self._free:
            writer.close()


async def exchange(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, request: bytes
) -> tuple[str, bytes, bool]:
    """Status, body, and whether the connection may be used again."""
    writer.write(request)
    head = (await reader.readuntil(b"\r\n\r\n")).lower()
    length = int(head.partition(b"content-length:")[2].split(b"\r\n", 1)[0])
    body = await reader.readexactly(length)
    return head[9:12].decode(), body, b"connection: close" not in head


class Maker:
    """Draws requests; feedback is on answers that were received.

    Parameters
    ----------
    texts
        Pairs of prompt and response, of which either may be None.
    keys
        Keys that may do everything.
    """

    def __init__(self, texts: Sequence[tuple[str, str | None]], keys: Sequence[str], seed: int) -> None:
        self._texts, self._keys, self._random = texts, keys, random.Random(seed)
        self._open: deque[tuple[str, int, str]] = deque(maxlen=2000)
        self._make: dict[str, Callable[[], tuple[str, Any]]] = {
            "one": lambda: ("/v1/classify", self._classify(1)),
            "many": lambda: ("/v1/classify", self._classify(self._random.randint(2, 16))),
            "moderations": lambda: ("/v1/moderations", {"input": self._texts_of(self._random.randint(1, 4))}),
            "vllm": lambda: ("/classify", {"model": self._task(), "input": self._texts_of(2)}),
        }

    def draw(self) -> Ask:
        (kind,) = self._random.choices(list(KINDS), list(KINDS.values()))
        key = self._random.choice(self._keys)
        if kind == "feedback" and self._open:
            return self._feedback(key)
        if kind == "bad":
            return self._bad(key)
        kind = "one" if kind == "feedback" else kind
        path, body = self._make[kind]()
        given = uuid.UUID(int=self._random.getrandbits(128)).hex if self._random.random() < 0.5 else None
        return Ask(kind, path, json.dumps(body).encode(), key, given)

    def learn(self, id: str, labels: dict[tuple[int, str], str | None]) -> None:
        """Remember an answer that may get feedback, once for each of its labels."""
        self._open.extend((id, item, task) for item, task in labels)

    def _task(self) -> str:
        return self._random.choice(list(LABELS))

    def _texts_of(self, count: int) -> list[str]:
        return [self._random.choice(self._texts)[0] for _ in range(count)]

    def _classify(self, count: int) -> dict[str, Any]:
        items = []
        for prompt, response in (self._random.choice(self._texts) for _ in range(count)):
            items.append({"prompt": prompt} if response is None else {"prompt": prompt, "response": response})
        body: dict[str, Any] = {"input": items[0] if count == 1 else items}
        if self._random.random() < 0.3:
            body["subject"] = f"user-{self._random.randrange(200)}"
        if self._random.random() < 0.2:
            body["tasks"] = ["prompt_risk"]
        return body

    def _feedback(self, key: str) -> Ask:
        place = self._random.randrange(len(self._open))
        id, item, task = self._open[place]
        del self._open[place]
        label = self._random.choice(LABELS[task])
        body = {"id": id, "item": item, "task": task, "label": label}
        return Ask("feedback", "/v1/feedback", json.dumps(body).encode(), key, note=(id, item, task, label))

    def _bad(self, key: str) -> Ask:
        path, body, shown = self._random.choice(
            [
                ("/v1/classify", b'{"input": {"prompt": "cut o', key),
                ("/v1/classify", b'{"input": {}}', key),
                ("/v1/classify", b'{"input": {"prompt": "a"}}', "nobody"),
                ("/v1/classify", b'{"input": {"prompt": "a"}, "tasks": ["no_such"]}', key),
                ("/v1/classify", json.dumps({"input": [{"prompt": "a"}] * 129}).encode(), key),
                ("/v1/moderations", b"[" * 100, key),
                ("/v1/feedback", json.dumps({"id": "0" * 48, "task": "refusal", "label": "x"}).encode(), key),
                ("/v1/nothing", b"{}", key),
            ]
        )
        return Ask("bad", path, body, shown)


def labels_of(ask: Ask, answer: dict[str, Any]) -> dict[tuple[int, str], str | None]:
    """Item and task to the label that an answer told, or None where its shape tells none."""
    if ask.kind == "vllm":
        return {(row["index"], json.loads(ask.body)["model"]): row["label"] for row in answer["data"]}
    found: dict[tuple[int, str], str | None] = {}
    for item, result in enumerate(answer["results"]):
        if ask.kind == "moderations":
            found |= {(item, name.partition("/")[0]): None for name in result["categories"]}
        else:
            found |= {(item, task): told["label"] for task, told in result["tasks"].items()}
    return found


async def send(port: int, maker: Maker, account: Account, rate: float, seconds: float) -> None:
    """Send requests for so long, then wait for what is under way."""
    client, under_way = Client(port), set()
    started = time.monotonic()

    async def one(ask: Ask, due: float) -> None:
        status, body = await client.ask(ask.as_bytes())
        now = time.monotonic()
        account.statuses.setdefault(ask.kind, Counter())[status] += 1
        if status != "200":
            return
        account.latencies.append(now - due)
        account.answered_at.append(now - started)
        answer = json.loads(body)
        if ask.kind == "feedback":
            account.feedback[answer["id"]] = ask.note
            return
        labels = account.answers[answer["id"]] = labels_of(ask, answer)
        if ask.given_id is not None:
            account.given[answer["id"]] = ask.given_id
        maker.learn(answer["id"], labels)

    for number in range(int(rate * seconds)):
        due = started + number / rate
        await asyncio.sleep(max(0.0, due - time.monotonic()))
        if len(under_way) >= MOST_AT_ONCE:
            account.not_sent += 1
            continue
        account.sent += 1
        task = asyncio.create_task(one(maker.draw(), due))
        under_way.add(task)
        task.add_done_callback(under_way.discard)
    account.ended_at = time.monotonic() - started
    await asyncio.gather(*under_way)
    client.close()
