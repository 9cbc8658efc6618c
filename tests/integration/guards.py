"""A real ``demur serve`` in processes of its own, on a real socket; and clients that count their answers."""

import asyncio
import json
import os
import signal
import socket
import subprocess
import time
from collections import Counter

import httpx
import yaml
from tests.integration.conftest import command, environment

from demur.store import new_key, open_store

READY_S = 600
"""A busy machine starts slowly; a test waits for what it needs, never for a time."""
ITEM = {"prompt": "How do I keep bread fresh?", "response": "I'm sorry, but I can't help with that."}


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class RunningGuard:
    """A server with a key of every scope."""

    def __init__(self, folder, models, **configuration):
        self.folder, self.port = folder, free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.database = configuration.get("database", {}).get("url") or f"sqlite:///{folder / 'guard.db'}"
        values = {
            "models": [str(one) for one in models],
            "port": self.port,
            "workers": 2,
            "threads": 1,
            "database": {"url": self.database},
            "spool": {"folder": str(folder / "spool")},
            "limits": {"timeout_s": 300},
            "drain_s": 120,
        }
        (folder / "serve.yaml").write_text(yaml.safe_dump(values | configuration))
        with open_store(self.database) as store:
            store.migrate()
            self.key, row = new_key("tests", ["classify", "feedback", "admin"])
            store.add_key(row)
        self.out, self.log = (folder / name for name in ("out.txt", "log.txt"))
        self.start()

    def start(self):
        with self.out.open("w") as out, self.log.open("a") as log:
            self.process = subprocess.Popen(
                [*command(), "serve", str(self.folder / "serve.yaml")],
                cwd=self.folder,
                env=environment(),
                stdout=out,
                stderr=log,
            )
        self.wait_until(lambda: "ready after" in self.out.read_text(), "the server was not ready")

    def wait_until(self, check, what, seconds=READY_S):
        until = time.monotonic() + seconds
        while not check():
            assert self.process.poll() is None, f"it ended: {self.log.read_text()[-2000:]}"
            assert time.monotonic() < until, f"{what}: {self.log.read_text()[-2000:]}"
            time.sleep(0.1)

    def client(self):
        headers = {"Authorization": f"Bearer {self.key}"}
        return httpx.Client(base_url=self.url, headers=headers, timeout=READY_S)

    def workers(self):
        """Processes of workers, without the controller."""
        found = []
        for task in os.listdir(f"/proc/{self.process.pid}/task"):
            with open(f"/proc/{self.process.pid}/task/{task}/children") as file:
                found += [int(one) for one in file.read().split()]
        return [one for one in found if self._listens(one)]

    def _listens(self, pid):
        """Whether a process has the listening socket, as workers do and the controller does not."""
        own = self._sockets(self.process.pid)
        return bool(own & self._sockets(pid))

    @staticmethod
    def _sockets(pid):
        found = set()
        try:
            for name in os.listdir(f"/proc/{pid}/fd"):
                try:
                    target = os.readlink(f"/proc/{pid}/fd/{name}")
                except OSError:
                    continue
                if target.startswith("socket:"):
                    found.add(target)
        except OSError:
            pass
        return found

    def stop(self, number=signal.SIGTERM):
        """End it, and give its exit code."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        return self.process.wait(READY_S)

    def kill(self):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait(READY_S)

    def recorded(self):
        """How often each answer is in the store: answer, item and task to number."""
        with open_store(self.database) as store:
            return Counter((row.request_id, row.item, row.task) for row in store.predictions())


class Load:
    """Clients that ask one after the other, and remember what they were answered.

    A connection that fails is no answer; the next request opens another.
    """

    def __init__(self, guard, clients=8):
        self.guard, self.clients = guard, clients
        self.answered, self.statuses, self.broken = [], Counter(), 0
        self.is_over = False

    async def run(self, until):
        """Ask until the coroutine ``until`` ends."""
        asking = [asyncio.create_task(self._ask()) for _ in range(self.clients)]
        try:
            await until
        finally:
            self.is_over = True
            await asyncio.wait_for(asyncio.gather(*asking), READY_S)

    async def _ask(self):
        headers = {"Authorization": f"Bearer {self.guard.key}"}
        async with httpx.AsyncClient(base_url=self.guard.url, headers=headers, timeout=READY_S) as client:
            while not self.is_over:
                try:
                    answer = await client.post("/v1/classify", json={"input": [ITEM, ITEM]})
                except httpx.TransportError:
                    self.broken += 1
                    await asyncio.sleep(0.05)
                    continue
                self.statuses[answer.status_code] += 1
                if answer.status_code == 200:
                    self.answered.append(answer.json()["id"])

    async def until_answered(self, count):
        """Wait until so many more were answered."""
        wanted = len(self.answered) + count
        until = time.monotonic() + READY_S
        while len(self.answered) < wanted:
            assert time.monotonic() < until, f"{len(self.answered)} answers, {self.statuses}"
            await asyncio.sleep(0.02)


def check_recorded_once(guard, answered, tasks=("refusal", "prompt_risk")):
    """Every answer is in the store once for each of its two items and each task, and nothing is there twice."""
    recorded = guard.recorded()
    assert set(recorded.values()) <= {1}
    missing = [
        (id, item, task)
        for id in answered
        for item in (0, 1)
        for task in tasks
        if (id, item, task) not in recorded
    ]
    assert missing == [], json.dumps(missing[:3])
